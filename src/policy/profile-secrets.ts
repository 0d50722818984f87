import { readHostPattern } from "./host-pattern.ts";
import { secretsSchema } from "./secret.ts";

/** Variables that programs of the sandbox are told other things by: none of them can hold a placeholder. */
const RESERVED =
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|PWD|TERM|TMPDIR|IFS|ENV|LC_.*|LD_.*|GLOVEBOX_.*|BASH_.*|PYTHON.*|NODE_.*|GIT_.*|(HTTP|HTTPS|NO|ALL)_PROXY|SSL_CERT_.*|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|PIP_CERT|CARGO_HTTP_CAINFO)$/;

/** A bundle's `secrets`: each bound to somebody's own hosts. */
export const profileSecrets = secretsSchema.superRefine((secrets, context) => {
  for (const [index, { name, hosts }] of secrets.entries()) {
    if (RESERVED.test(name)) {
      const message = `the variable ${name} means something else to programs: give the secret another name`;
      context.addIssue({ code: "custom", path: [index, "name"], message });
    }
    for (const [at, { host }] of hosts.entries()) {
      const read = readHostPattern(host);
      const problem =
        "problem" in read
          ? read.problem
          : isRange(read.pattern)
            ? "must be a name: certificates are checked"
            : undefined;
      if (problem === undefined) continue;
      context.addIssue({ code: "custom", path: [index, "hosts", at, "host"], message: `\`${host}\` ${problem}` });
    }
  }
});

function isRange({ kind }: { readonly kind: string }): boolean {
  return kind === "range";
}
