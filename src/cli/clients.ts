import { join } from "node:path";

/** The command that a client starts. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Place {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** An MCP client: where its configuration is, and what an entry in it looks like. */
export interface ClientKind {
  readonly name: string;
  readonly title: string;
  readonly format: "json" | "toml" | "yaml";
  /** Key of the table that holds the servers. */
  readonly key: string;
  readonly user: (place: Place) => string;
  /** Below the project's folder, where the client has such a thing. */
  readonly project?: string;
  readonly entry: (launch: Launch, name: string) => Record<string, unknown>;
}

/** What most clients agreed on. */
const common = ({ command, args, env }: Launch) => ({ command, args, ...(Object.keys(env).length > 0 ? { env } : {}) });

/** Where desktop programs keep their settings. */
function applicationSupport({ platform, home, env }: Place, ...rest: string[]): string {
  if (platform === "darwin") return join(home, "Library", "Application Support", ...rest);
  return join(configHome({ platform, home, env }), ...rest);
}

function configHome({ home, env }: Pick<Place, "platform" | "home" | "env">): string {
  return env["XDG_CONFIG_HOME"] ?? join(home, ".config");
}

export const CLIENTS: readonly ClientKind[] = [
  {
    name: "claude-desktop",
    title: "Claude Desktop",
    format: "json",
    key: "mcpServers",
    user: (place) => applicationSupport(place, "Claude", "claude_desktop_config.json"),
    entry: common,
  },
  {
    name: "claude-code",
    title: "Claude Code",
    format: "json",
    key: "mcpServers",
    user: ({ home }) => join(home, ".claude.json"),
    project: ".mcp.json",
    entry: (launch) => ({ type: "stdio", ...common(launch) }),
  },
  {
    name: "cursor",
    title: "Cursor",
    format: "json",
    key: "mcpServers",
    user: ({ home }) => join(home, ".cursor", "mcp.json"),
    project: join(".cursor", "mcp.json"),
    entry: common,
  },
  {
    name: "vscode",
    title: "VS Code",
    format: "json",
    key: "servers",
    user: (place) => applicationSupport(place, "Code", "User", "mcp.json"),
    project: join(".vscode", "mcp.json"),
    entry: (launch) => ({ type: "stdio", ...common(launch) }),
  },
  {
    name: "windsurf",
    title: "Windsurf",
    format: "json",
    key: "mcpServers",
    user: ({ home }) => join(home, ".codeium", "windsurf", "mcp_config.json"),
    entry: common,
  },
  {
    name: "codex",
    title: "Codex",
    format: "toml",
    key: "mcp_servers",
    user: ({ home }) => join(home, ".codex", "config.toml"),
    // Its defaults are 10 s and 60 s; a first call may have to wait for a machine.
    entry: (launch) => ({ ...common(launch), startup_timeout_sec: 20, tool_timeout_sec: 120 }),
  },
  {
    name: "gemini",
    title: "Gemini CLI",
    format: "json",
    key: "mcpServers",
    user: ({ home }) => join(home, ".gemini", "settings.json"),
    project: join(".gemini", "settings.json"),
    entry: common,
  },
  {
    name: "zed",
    title: "Zed",
    format: "json",
    key: "context_servers",
    user: ({ home, env, platform }) => join(configHome({ home, env, platform }), "zed", "settings.json"),
    project: join(".zed", "settings.json"),
    entry: (launch) => ({ source: "custom", ...common(launch) }),
  },
  {
    name: "opencode",
    title: "opencode",
    format: "json",
    key: "mcp",
    user: ({ home, env, platform }) => join(configHome({ home, env, platform }), "opencode", "opencode.json"),
    project: "opencode.json",
    entry: ({ command, args, env }) => ({
      type: "local",
      command: [command, ...args],
      enabled: true,
      ...(Object.keys(env).length > 0 ? { environment: env } : {}),
    }),
  },
  {
    name: "goose",
    title: "Goose",
    format: "yaml",
    key: "extensions",
    user: ({ home, env, platform }) => join(configHome({ home, env, platform }), "goose", "config.yaml"),
    entry: ({ command, args, env }, name) => ({
      name,
      type: "stdio",
      enabled: true,
      cmd: command,
      args,
      envs: env,
      timeout: 120,
    }),
  },
];
