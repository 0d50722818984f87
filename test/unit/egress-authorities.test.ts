import { execFile } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect, createServer, getCACertificates, type PeerCertificate } from "node:tls";
import { promisify } from "node:util";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { readAuthorities } from "../../src/egress/authorities.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";

const DAY_MS = 86_400_000;
const run = promisify(execFile);
const opensslMissing = await run("openssl", ["version"]).then(
  () => false,
  () => true,
);

let authority: SessionAuthority;
let other: SessionAuthority;
beforeAll(async () => {
  [authority, other] = await Promise.all([createSessionAuthority(), createSessionAuthority()]);
});

function scratch(files: Record<string, string> = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-authorities-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

/** A handshake with a server that has this host's certificate; Node verifies it. */
async function handshake(host: string, options: ConnectionOptions = {}): Promise<PeerCertificate> {
  const context = await authority.contextFor(host);
  const server = createServer({ SNICallback: (_name, done) => done(null, context) });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({
    host: "127.0.0.1",
    port,
    servername: "server.test",
    ca: [authority.certificate],
    ...options,
  });
  try {
    await once(client, "secureConnect");
    return client.getPeerCertificate();
  } finally {
    client.destroy();
    server.close();
  }
}

/** As a client would check that connects to this host. */
const asClientOf = (host: string): ConnectionOptions => ({
  checkServerIdentity: (_name, certificate) => {
    const checked = new X509Certificate(certificate.raw);
    const found = /^[\d.]+$|:/.test(host) ? checked.checkIP(host) : checked.checkHost(host);
    return found === undefined ? new Error(`not for ${host}`) : undefined;
  },
});

describe("a session's authority", () => {
  test.each([
    "example.org",
    "a.b.c.example.org",
    "a_b.example.org",
    "intranet",
    "xn--bcher-kva.example",
    `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.example.org`,
    "192.0.2.7",
    "2001:db8::1",
  ])("makes a certificate for %s that a client accepts, and for nothing else", async (host) => {
    const certificate = await handshake(host, asClientOf(host));
    const names = new X509Certificate(certificate.raw).subjectAltName?.split(", ");
    expect(names).toHaveLength(1);
    for (const it of ["other.test", "x.example.org", "192.0.2.8", "2001:db8::2"])
      await expect(handshake(host, asClientOf(it))).rejects.toThrow(`not for ${it}`);
  });

  test("is trusted by nobody who trusts another session's, or the world's", async () => {
    await expect(handshake("example.org", { ca: [other.certificate] })).rejects.toMatchObject({ code: /./ });
    await expect(handshake("example.org", { ca: getCACertificates("bundled") })).rejects.toMatchObject({ code: /./ });
  });

  test("speaks TLS 1.2 and 1.3, and nothing older", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const)
      await handshake("example.org", { ...asClientOf("example.org"), minVersion: version, maxVersion: version });
    const old = {
      ...asClientOf("example.org"),
      minVersion: "TLSv1" as const,
      maxVersion: "TLSv1.1" as const,
      ciphers: "DEFAULT@SECLEVEL=0",
    };
    await expect(handshake("example.org", old)).rejects.toThrow();
  });

  test("and its certificates are valid a year back and a year ahead, whatever the sandbox's clock says", async () => {
    const own = new X509Certificate(authority.certificate);
    const leaf = new X509Certificate((await handshake("example.org", asClientOf("example.org"))).raw);
    for (const { validFromDate, validToDate } of [own, leaf]) {
      expect(validFromDate.getTime()).toBeLessThan(Date.now() - 366 * DAY_MS);
      expect(validToDate.getTime()).toBeGreaterThan(Date.now() + 366 * DAY_MS);
      // Apple's programs take none that is valid for more than 825 days.
      expect(validToDate.getTime() - validFromDate.getTime()).toBeLessThan(825 * DAY_MS);
    }
  });

  test("is one, and what it makes is none", async () => {
    const own = new X509Certificate(authority.certificate);
    const leaf = new X509Certificate((await handshake("example.org", asClientOf("example.org"))).raw);
    expect([own.ca, leaf.ca]).toEqual([true, false]);
    expect([leaf.verify(own.publicKey), leaf.checkIssued(own)]).toEqual([true, true]);
    expect(leaf.verify(new X509Certificate(other.certificate).publicKey)).toBe(false);
    expect(leaf.serialNumber).not.toBe(own.serialNumber);
    expect(authority.certificate).not.toContain("PRIVATE");
    expect(authority.certificate).toMatch(/^-----BEGIN CERTIFICATE-----\n[^-]+\n-----END CERTIFICATE-----\n$/);
  });

  test.skipIf(opensslMissing)("passes OpenSSL's strict rules, today, a year ago and in a year", async () => {
    const leaf = await handshake("example.org", asClientOf("example.org"));
    const directory = scratch({
      "ca.pem": authority.certificate,
      "leaf.pem": new X509Certificate(leaf.raw).toString(),
    });
    for (const days of [-365, 0, 365]) {
      const at = String(Math.round((Date.now() + days * DAY_MS) / 1_000));
      const args = ["-x509_strict", "-purpose", "sslserver", "-verify_hostname", "example.org", "-attime", at];
      const { stdout } = await run("openssl", ["verify", ...args, "-CAfile", "ca.pem", "leaf.pem"], { cwd: directory });
      expect(stdout).toBe("leaf.pem: OK\n");
    }
  });

  test("makes each host's certificate once, and forgets the oldest of very many", async () => {
    const first = authority.contextFor("first.test");
    expect(authority.contextFor("first.test")).toBe(first);
    await Promise.all(Array.from({ length: 255 }, (_, n) => authority.contextFor(`h${n}.test`)));
    expect(authority.contextFor("h254.test")).toBe(authority.contextFor("h254.test"));
    await authority.contextFor("one-more.test");
    expect(authority.contextFor("first.test")).not.toBe(first);
  });
});

describe("authorities of this computer", () => {
  test("are Node's own and those of the files, each once, whatever else stands in them", async () => {
    const directory = scratch({
      "a.pem": `# ours\r\n${authority.certificate.replaceAll("\n", "\r\n")}\r\n${authority.certificate}`,
      "b.pem": `${other.certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n${authority.certificate}`,
    });
    const files = ["a.pem", "b.pem"].map((it) => join(directory, it));
    const plain = await readAuthorities([]);
    const read = await readAuthorities(files);
    const prints = (list: readonly string[]) => list.map((it) => new X509Certificate(it).fingerprint256);
    const ours = prints([authority.certificate, other.certificate]).toSorted();
    expect(
      prints(read.extra)
        .filter((it) => !prints(plain.extra).includes(it))
        .toSorted(),
    ).toEqual(ours);
    expect(read.all).toHaveLength(plain.all.length + 2);
    expect(new Set(prints(read.all)).size).toBe(read.all.length);
    expect(read.all.every((it) => /^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/.test(it))).toBe(
      true,
    );
    expect(read.all.join("")).not.toContain("PRIVATE");
    expect(prints(plain.all)).toEqual(expect.arrayContaining(prints(getCACertificates("bundled"))));
  });

  test("have one digest, whatever order their files have; another authority is another digest", async () => {
    const directory = scratch({ "a.pem": authority.certificate, "b.pem": other.certificate });
    const digest = async (...names: string[]) => (await readAuthorities(names.map((it) => join(directory, it)))).digest;
    expect(await digest("a.pem", "b.pem")).toBe(await digest("b.pem", "a.pem"));
    expect(
      new Set([await digest(), await digest("a.pem"), await digest("b.pem"), await digest("a.pem", "b.pem")]).size,
    ).toBe(4);
  });

  test("accept a server of a file's authority, and of no other", async () => {
    const directory = scratch({ "a.pem": authority.certificate });
    const { all } = await readAuthorities([join(directory, "a.pem")]);
    await handshake("example.org", { ca: [...all], servername: "example.org" });
    await expect(handshake("example.org", { ca: [...(await readAuthorities([])).all] })).rejects.toMatchObject({
      code: /./,
    });
  });

  const broken = () => authority.certificate.replace(/\n[A-Za-z0-9+/]{20}/, "\nAAAAAAAAAAAAAAAAAAAA");
  test.each<[what: string, text: () => string, reason: RegExp]>([
    ["an empty file", () => "", /there is no certificate in it/],
    ["text", () => "hello\n", /there is no certificate in it/],
    [
      "a key only",
      () => "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
      /there is no certificate in it/,
    ],
    ["a certificate that is cut short", () => authority.certificate.slice(0, 200), /there is no certificate in it/],
    ["a certificate that can't be read", broken, /can't be read: ./],
    ["a broken one behind a good one", () => other.certificate + broken(), /can't be read: ./],
    ["DER", () => new X509Certificate(authority.certificate).raw.toString("latin1"), /there is no certificate in it/],
  ])("%s is refused, with the file's name", async (_, text, reason) => {
    const file = join(scratch({ "ca.pem": text() }), "ca.pem");
    await expect(readAuthorities([file])).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(reason),
    });
    await expect(readAuthorities([file])).rejects.toThrow(`the authorities in \`${file}\` can't be read: `);
  });

  test("a file that isn't there, and a folder, are refused", async () => {
    const directory = scratch();
    for (const [path, code] of [
      [join(directory, "none.pem"), "ENOENT"],
      [directory, "EISDIR"],
    ] as const)
      await expect(readAuthorities([path])).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining(code),
      });
  });
});
