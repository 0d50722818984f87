const SWITCH = "NODE_TLS_REJECT_UNAUTHORIZED";

/**
 * Takes away from this process, and so from the programs and threads that it starts, the variable with which Node verifies no certificate at
 * all. Connections of Glovebox's own demand verification each by itself; this is for what libraries and the transports of others connect to.
 * Node looks at it with each connection, so it is enough to do this before the first one.
 * @param say told in a line that the variable has no effect, and what to do instead
 */
export function keepVerifying(environment: NodeJS.ProcessEnv, say: (line: string) => void): void {
  if (environment[SWITCH] !== "0") return;
  delete environment[SWITCH];
  say(
    `${SWITCH}=0 has no effect: certificates are always verified; to trust one more authority, name its file in GLOVEBOX_TRUSTED_CA`,
  );
}
