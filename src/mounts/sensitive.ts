import { parsePatterns } from "./pattern.ts";

/** Credentials and keys: neither imported nor exported. */
const SECRETS = [
  ".ssh",
  ".aws",
  ".azure",
  ".gnupg",
  ".kube",
  ".docker",
  ".config/gcloud",
  ".config/gh",
  ".password-store",
  ".terraform.d",
  ".mozilla",
  ".thunderbird",
  ".env",
  ".env.*",
  "*.env",
  "!.env.example",
  "!.env.sample",
  "!.env.template",
  "!.env.dist",
  ".envrc",
  ".netrc",
  "_netrc",
  ".npmrc",
  ".yarnrc",
  ".yarnrc.yml",
  ".pypirc",
  ".pgpass",
  ".my.cnf",
  ".git-credentials",
  ".gitconfig",
  ".dockercfg",
  ".htpasswd",
  ".vault-token",
  ".s3cfg",
  ".boto",
  ".authinfo",
  ".authinfo.*",
  ".terraformrc",
  "rclone.conf",
  ".cargo/credentials",
  ".cargo/credentials.toml",
  ".gem/credentials",
  ".m2/settings.xml",
  ".*_history",
  "id_rsa*",
  "id_dsa*",
  "id_ecdsa*",
  "id_ed25519*",
  "*.pem",
  "*.key",
  "*.p8",
  "*.p12",
  "*.pfx",
  "*.ppk",
  "*.jks",
  "*.keystore",
  "*.kdbx",
  "*.kdb",
  "*.age",
  "*.tfstate",
  "*.tfstate.*",
  "secring.*",
  "credentials.json",
  "client_secret*.json",
  "service-account*.json",
  // May hold a token in a remote's URL.
  "**/.git/config",
  "**/.git/config.worktree",
  "**/.git/modules/**/config",
] as const;

/** What a program of the host obeys merely because somebody enters or opens the folder: not exported. What a person starts, like a Makefile, is. */
const ACTIVE = [
  ".git",
  "git~[0-9]",
  ".gitmodules",
  ".hg",
  ".svn",
  ".bzr",
  ".jj",
  ".husky",
  ".githooks",
  ".pre-commit-config.yaml",
  ".lefthook.y*ml",
  "lefthook.y*ml",
  ".vscode",
  "*.code-workspace",
  ".idea",
  ".fleet",
  ".vs",
  ".zed",
  ".devcontainer",
  ".devcontainer.json",
  ".claude",
  ".cursor",
  ".windsurf",
  ".codex",
  ".gemini",
  ".continue",
  ".opencode",
  ".goose",
  ".aider*",
  ".mcp.json",
  ".direnv",
  ".autoenv*",
  ".mise",
  ".mise*.toml",
  "mise*.toml",
  ".rtx.toml",
  ".pnpmfile.?js",
  ".yarn",
  ".bashrc",
  ".bash_*",
  ".profile",
  ".zshrc",
  ".zshenv",
  ".zprofile",
  ".zlog*",
  ".kshrc",
  ".cshrc",
  ".tcshrc",
  ".login",
  ".logout",
  ".inputrc",
  ".config",
  ".local",
  ".vimrc",
  ".gvimrc",
  "_vimrc",
  ".exrc",
  "_exrc",
  ".nvimrc",
  ".nvim.lua",
  ".lvimrc",
  ".vim",
  ".emacs",
  ".emacs.d",
  ".dir-locals*.el",
  ".gdbinit",
  ".lldbinit",
  ".pdbrc",
  ".pythonrc*",
  ".irbrc",
  ".pryrc",
  ".Rprofile",
  ".tmux.conf",
  ".screenrc",
  "*.desktop",
  "*.lnk",
  "*.scf",
  "*.url",
  "*.webloc",
  "desktop.ini",
  "autorun.inf",
] as const;

const secrets = parsePatterns(SECRETS, folded);
const active = parsePatterns(ACTIVE, folded);

/** Whether the path, or a directory that it lies in, is of these kinds, in whatever spelling a file system takes for the same. */
export function isSensitive(names: readonly string[], direction: "import" | "export"): boolean {
  return names.some((_name, at) => {
    const path = names.slice(0, at + 1);
    // As a file and as a directory alike: it does not matter what it is now.
    if (secrets.match(path, true) === "yes") return true;
    return direction === "export" && active.match(path, true) === "yes";
  });
}

/** Directories of these names need not be sent to be refused. */
export const PRUNED: readonly string[] = [".git", ".hg", ".svn", ".jj", ".ssh", ".aws", ".gnupg"];

/**
 * As file systems compare names that ignore case, compatibility forms, what is not shown (HFS+) and dots or spaces at the end (Windows
 * and shares). Characters of patterns stay what they are.
 */
export function folded(name: string): string {
  return name
    .normalize("NFKC")
    .toLowerCase()
    .replace(/\p{Default_Ignorable_Code_Point}/gu, "")
    .replace(/(?<=.)[. ]+$/u, "");
}
