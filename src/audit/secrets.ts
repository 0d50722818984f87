import { nameWords } from "../lib/name-words.ts";

/** A well-known form of secret. Replaced by `[redacted:<id>]` wherever it occurs in a string. */
export interface SecretRule {
  readonly id: string;
  readonly pattern: RegExp;
}

/**
 * Token formats as their issuers document them and as the rule sets of gitleaks (MIT) and secretlint (MIT) recognise them;
 * where the two disagree, the wider form. A library was tried and not taken: secretlint (13.0.7) is asynchronous, takes 0.1 to
 * 0.3 ms a string and knows no bearer tokens or JWTs. It is what a test holds these against, rule by rule.
 *
 * INVARIANT: linear time on any input. A pattern is a literal prefix and a character class with nothing behind it that can
 * fail after a long scan, or it starts at a boundary that its own class cannot contain (look-behind).
 */
export const SECRET_RULES: readonly SecretRule[] = [
  // PEM, PGP and OpenSSH private keys; one that was cut off is a secret up to the end of the text.
  {
    id: "private-key",
    pattern: /-----BEGIN[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END[A-Z0-9 ]{0,60}-----|$)/g,
  },
  { id: "age-key", pattern: /AGE-SECRET-KEY-1[0-9A-Z]{58}/g },
  { id: "github", pattern: /gh[pousr]_[A-Za-z0-9]{30,255}/g },
  // Of an installed app since 2026: the app's id and a JSON Web Token.
  { id: "github", pattern: /ghs_\d{1,20}_[A-Za-z0-9_.-]{30,10000}/g },
  { id: "github", pattern: /github_pat_[A-Za-z0-9_]{22,255}/g },
  { id: "gitlab", pattern: /gl(?:pat|dt|rt|rtr|cbt|ptt|soat|ft|imt|agent|oas|wt)-[A-Za-z0-9_.-]{20,300}/g },
  { id: "aws", pattern: /(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}/g },
  { id: "slack", pattern: /xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,255}/g },
  { id: "slack", pattern: /xapp-[A-Za-z0-9-]{10,255}/g },
  { id: "slack", pattern: /hooks\.slack\.com\/(?:services|workflows|triggers)\/[A-Za-z0-9+/]{20,255}/g },
  { id: "google", pattern: /AIza[A-Za-z0-9_-]{35}/g },
  { id: "google", pattern: /GOCSPX-[A-Za-z0-9_-]{20,64}/g },
  { id: "google", pattern: /ya29\.[A-Za-z0-9_-]{20,2048}/g },
  { id: "stripe", pattern: /(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,255}/g },
  { id: "stripe", pattern: /whsec_[A-Za-z0-9+/=]{24,255}/g },
  { id: "huggingface", pattern: /hf_[A-Za-z0-9]{30,255}/g },
  { id: "npm", pattern: /npm_[A-Za-z0-9]{36,255}/g },
  { id: "pypi", pattern: /pypi-[A-Za-z0-9_-]{50,1000}/g },
  { id: "rubygems", pattern: /rubygems_[a-f0-9]{48}/g },
  { id: "docker", pattern: /dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,255}/g },
  { id: "digitalocean", pattern: /do[opr]_v1_[a-f0-9]{64}/g },
  { id: "vault", pattern: /hv[bsr]\.[A-Za-z0-9_-]{24,500}/g },
  { id: "terraform", pattern: /\.atlasv1\.[A-Za-z0-9_=-]{60,255}/g },
  { id: "azure", pattern: /[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}/g },
  { id: "azure", pattern: /(?:AccountKey|SharedAccessKey|SharedAccessSignature)=[A-Za-z0-9+/=%&-]{20,500}/g },
  { id: "atlassian", pattern: /ATATT3[A-Za-z0-9_=-]{60,255}/g },
  { id: "1password", pattern: /ops_eyJ[A-Za-z0-9+/=]{100,2000}/g },
  { id: "sendgrid", pattern: /SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}/g },
  { id: "shopify", pattern: /shp(?:at|ca|pa|ss|pca|ppa)_[A-Za-z0-9]{32,64}/g },
  { id: "databricks", pattern: /dapi[A-Fa-f0-9]{32}/g },
  { id: "doppler", pattern: /dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{20,255}/g },
  { id: "grafana", pattern: /gl(?:c|sa)_[A-Za-z0-9+/_=]{32,400}/g },
  { id: "linear", pattern: /lin_(?:api|oauth)_[A-Za-z0-9_]{32,255}/g },
  { id: "groq", pattern: /gsk_[A-Za-z0-9]{52}/g },
  { id: "notion", pattern: /ntn_[A-Za-z0-9]{40,255}/g },
  { id: "vercel", pattern: /vc[piark]_[A-Za-z0-9]{20,255}/g },
  { id: "figma", pattern: /figd_[A-Za-z0-9_-]{40,255}/g },
  { id: "cloudflare", pattern: /cf(?:k|ut|at)_[A-Za-z0-9]{48}/g },
  { id: "tailscale", pattern: /tskey-[a-z]{2,20}-[0-9A-Za-z_]{8,100}-[0-9A-Za-z_]{16,100}/g },
  { id: "postman", pattern: /PMAK-[a-f0-9-]{30,80}/g },
  { id: "sentry", pattern: /sntry[su]_[A-Za-z0-9+/=_]{40,500}/g },
  // From here on those that need a boundary before them: last, so that a secret glued behind another one has it.
  // Anthropic, OpenAI and their imitators.
  { id: "api-key", pattern: /(?<![A-Za-z0-9])sk-(?:ant-|proj-|svcacct-|admin-|or-)?[A-Za-z0-9_-]{20,}/g },
  { id: "crates", pattern: /(?<![A-Za-z0-9])cio[A-Za-z0-9]{32}(?![A-Za-z0-9])/g },
  { id: "twilio", pattern: /(?<![A-Za-z0-9])SK[a-f0-9]{32}(?![A-Za-z0-9])/g },
  { id: "telegram", pattern: /(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{33,}/g },
  // A JSON Web Token (RFC 7519), header.payload(.signature)*: base64url of `{"` and any third byte begins so.
  { id: "jwt", pattern: /(?<![A-Za-z0-9_-])ey[I-L][A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}/g },
  // RFC 6750 and RFC 7617 credentials, wherever they stand; `basic authentication` is prose, so short ones need a digit or capital.
  {
    id: "authorization",
    pattern:
      /(?<![A-Za-z0-9])(?:[Bb]earer|BEARER|[Bb]asic|BASIC|[Tt]oken|TOKEN)[ \t]{1,8}(?=[a-z._~+/=:-]{0,20}[0-9A-Z]|[a-z._~+/=:-]{20})[A-Za-z0-9._~+/=:-]{8,}/g,
  },
  // A token in the place of the user, as git hosts took it.
  { id: "url-user", pattern: /(?<=:\/\/)[^\s/:@?#"'`]{1,512}(?=:x-oauth-basic@)/g },
  // user:password@ in a URL (RFC 3986 §3.2.1), up to the last `@` before the path, as programs read it; the user name stays.
  { id: "url-password", pattern: /(?<=:\/\/[^\s/:@?#"'`]{0,128}:)[^\s/?#"'`]{1,512}(?=@)/g },
];

/** Whether any rule can find something: one look at a text in place of forty. */
export const ANY_SECRET = new RegExp(SECRET_RULES.map(({ pattern }) => `(?:${pattern.source})`).join("|"));

/** Parts of a name that say the value is secret, in whatever case and with whatever separators the name is written. */
const SECRET_PARTS =
  /passw(?:or)?d|passphrase|passcode|secret|credential|authorization|cookie|bearer|apikey|privatekey|accesskey|signingkey|encryptionkey|masterkey|authkey|accountkey|token|jwt/;
/** As a word among others only: `DB_PWD` and `smtp-pass`, not `compass`. */
const SECRET_WORDS = new Set(["pwd", "pass", "auth", "pat", "otp"]);
/** A name that ends so is about a secret without being one: `token_url`, `secretName`, `PASSWORD_FILE`. */
const ABOUT_A_SECRET = new Set(
  "count limit max min length size type url uri endpoint path file name expiry expires ttl policy".split(" "),
);
/** A name without any of these is plain: most are, and one look tells. */
const SECRET_HINT = /pass|pwd|secret|credential|auth|cookie|bearer|key|token|jwt|pat|otp/i;

/**
 * What a key, variable, flag or header of this name holds: `password` is secret whatever it looks like, `secret` unless it is
 * a number (`maxTokens`), `plain` is not.
 */
export function nameHolds(name: string): "password" | "secret" | "plain" {
  if (!SECRET_HINT.test(name)) return "plain";
  const words = nameWords(name);
  const joined = words.join("");
  if (ABOUT_A_SECRET.has(words.at(-1) ?? "") || joined.endsWith("keyid")) return "plain";
  if (/passw(?:or)?d|passcode|passphrase/.test(joined)) return "password";
  const secret = SECRET_PARTS.test(joined) || (words.length > 1 && words.some((word) => SECRET_WORDS.has(word)));
  return secret ? "secret" : "plain";
}
