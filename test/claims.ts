/**
 * What SECURITY.md promises, by number. A test that shows a guarantee has its number in brackets in its title, e.g. `[G3]`;
 * `unit/claims.test.ts` fails for a guarantee that no test cites and for one that SECURITY.md words otherwise.
 */
export const CLAIMS = {
  G1: "Nothing an agent asks for is executed on the host: every program and every file operation happens inside the session's own machine, but for the copies that G22 is about.",
  G2: "Each session has its own machine with its own kernel and its own Docker engine; a machine serves one session in its life. Machines that start as copies of one saved machine share no random stream and nothing that either writes, and none can change what later ones start from.",
  G3: "Nothing runs unless the policy bundle in force permits exactly that call; an evaluation error, an unknown key or an invalid bundle denies.",
  G4: "A denied or invalid call opens no session and executes nothing.",
  G5: "No call is executed before its intent and decision are on disk; when the log cannot be written, calls are refused.",
  G6: "Every permitted call has exactly one outcome record, also when the gateway is killed in the middle of it.",
  G7: "A changed, removed, reordered or truncated audit record is found by `glovebox audit verify`, with its place.",
  G8: "The sandbox has no network device, no route out of it and no shared folder: what its programs dial is the gateway's to decide.",
  G9: "The agent's process is not root, has no capabilities, cannot gain privileges, and is under a seccomp filter.",
  G10: "The agent reaches neither the inner Docker engine nor the channel to the gateway, and cannot take the place of the container's first process.",
  G11: "Isolation is attested from inside at every open; below the profile's floor the session is refused, never degraded.",
  G12: "A file tool acts on exactly the path that policy decided on: `..` is resolved before the decision, and a symbolic link in the path is refused, also one that a program puts there meanwhile.",
  G13: "Whatever a program prints, and whatever a machine sends, the gateway's memory stays bounded; a violation of the channel's protocol ends the machine.",
  G14: "A program that exhausts processes, memory or disk hurts its own session only.",
  G15: "After a gateway is killed, the next start leaves none of its processes, files or locks.",
  G16: "Secrets that look like secrets are removed from arguments before they are hashed into the log.",
  G17: "Another local user cannot reach a machine, its channel, its files or the audit log; of a sandbox's ports only one that was exposed, and that only with its link's token.",
  G18: "A session is useless to any other principal: its id is as unknown as one that never was.",
  G19: "A program in the sandbox reaches what policy grants by host, port, method and path, and nothing else, whatever it dials and however it spells it; each connection is on record before its first byte leaves.",
  G20: "Loopback, link-local, metadata and private addresses, and the gateway's own computer, are reached only where policy names them as such; the address that is connected to is one that was checked.",
  G21: "The value of a secret enters neither the sandbox nor a result, a log or the audit trail: a placeholder becomes the value on the way to the hosts that it is bound to, and is refused wherever else the gateway reads the request.",
  G22: "Files cross between host and sandbox only as copies, and only in folders that the policy bundle names: no symbolic link there is followed, also not one that is put there meanwhile; what by its name is a secret, or what a program of the host would obey, is left out; and no file of the host is replaced unless the call says so.",
  G23: "A port of the sandbox is reachable on this computer only where policy permits it, only with its link's token, and only until its sandbox ends; the sandbox never sees the token, and the audit log never holds it.",
  G24: "A version of a package that policy forbids does not come into a sandbox from a registry: it is missing in what registries are seen to have, and refused at its file's own address, whoever asks and by whatever way; no connection leads to a registry itself.",
  G25: "A file of a package is whole in a sandbox only when its digest was found to be the one that its registry promises, or policy permits that there is none, and its purl and SHA-256 are in the audit log.",
  G26: "A package's name that one registry has for itself is asked of no other, and a registry's secret goes to that registry's own address only.",
} as const satisfies Record<`G${number}`, string>;
