import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { joinParts, parseSyslog, type SyslogMessage } from "./syslog-parse.ts";

const START_MS = 120_000;

export interface RsyslogOptions {
  /** Only who has a certificate of this name may send. */
  readonly permittedPeer?: string;
  readonly maxMessageBytes?: number;
}

/**
 * A real rsyslogd with TLS on a free port of loopback, in the foreground, as the user that runs the tests: it writes what it receives to a file
 * as it came, before it reads on (a queue of type Direct), and is gone with its directory when it is disposed of.
 */
export class Rsyslog implements AsyncDisposable {
  readonly directory: string;
  readonly certificates: Certificates;
  readonly #options: RsyslogOptions;
  #process: ChildProcess | undefined;
  #port = 0;
  #said = "";
  readonly #messages: SyslogMessage[] = [];
  #slowing: NodeJS.Timeout | undefined;

  static async start(options: RsyslogOptions = {}): Promise<Rsyslog> {
    const directory = mkdtempSync(join(tmpdir(), "glovebox-rsyslog-"));
    const rsyslog = new Rsyslog(directory, await makeCertificates(directory), options);
    try {
      await rsyslog.start();
      return rsyslog;
    } catch (error) {
      await rsyslog[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(directory: string, certificates: Certificates, options: RsyslogOptions) {
    this.directory = directory;
    this.certificates = certificates;
    this.#options = options;
  }

  get port(): number {
    return this.#port;
  }

  /** Of a sink that delivers to it, where nobody asks who is sending. */
  get settings() {
    const { ca } = this.certificates;
    return { name: "central", type: "syslog", host: "localhost", port: this.#port, ca, timeoutSeconds: 10 };
  }
  readonly authorities: readonly string[] = [];

  /** Again at the same port, after `stop` or `kill`. */
  async start(): Promise<void> {
    const configuration = join(this.directory, "rsyslog.conf");
    writeFileSync(configuration, this.#configuration());
    this.#process = spawn("rsyslogd", ["-n", "-x", "-f", configuration, "-i", join(this.directory, "pid")], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
    });
    this.#process.on("error", (error) => {
      this.#said += String(error);
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString()).slice(-10_000);
      });
    }
    const deadline = Date.now() + START_MS;
    while (!(await this.#listens())) {
      if (Date.now() > deadline || this.#process.exitCode !== null) {
        throw new Error(`rsyslogd does not listen: ${this.#said}`);
      }
      await sleep(20);
    }
  }

  /** As a system does it: rsyslogd closes its connections and ends. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Between these two it does nothing at all. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }
  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** From now on it stands still again and again, for so long; 0: no more. */
  slow(delayMs: number): void {
    clearInterval(this.#slowing);
    this.resume();
    if (delayMs === 0) return;
    this.#slowing = setInterval(() => {
      this.pause();
      setTimeout(() => this.resume(), delayMs);
    }, 2 * delayMs);
  }

  /** The records, each once. @throws Error for one that came again with another hash */
  async received(): Promise<readonly { readonly id: string; readonly hash: string }[]> {
    const hashes = new Map<string, string>();
    for (const { id, hash } of this.records()) {
      if ((hashes.get(id) ?? hash) !== hash) throw new Error(`${id} has two hashes`);
      hashes.set(id, hash);
    }
    return [...hashes].map(([id, hash]) => ({ id, hash }));
  }

  /** What it has received, message by message. */
  messages(): SyslogMessage[] {
    const file = join(this.directory, "received");
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").split("\n");
    // Behind the last newline is what is being written; what was read before is not read again.
    this.#messages.push(...lines.slice(this.#messages.length, -1).map(parseSyslog));
    return [...this.#messages];
  }

  /** The records in them, each as often as it came. */
  records() {
    return joinParts(this.messages());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#slowing);
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#process;
    if (running?.pid === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = once(running, "exit");
    running.kill("SIGCONT");
    running.kill(signal);
    await exited;
    this.#process = undefined;
  }

  async #listens(): Promise<boolean> {
    if (this.#port === 0) {
      const file = join(this.directory, "port");
      this.#port = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
      if (this.#port === 0) return false;
    }
    const socket = connect({ host: "127.0.0.1", port: this.#port });
    try {
      await once(socket, "connect");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  #configuration(): string {
    const { permittedPeer, maxMessageBytes = 8192 } = this.#options;
    const at = (name: string) => JSON.stringify(join(this.directory, name));
    const peer =
      permittedPeer === undefined
        ? `streamDriver.authMode="anon"`
        : `streamDriver.authMode="x509/name" permittedPeer=["${permittedPeer}"]`;
    return [
      `global(workDirectory=${JSON.stringify(this.directory)} maxMessageSize="${maxMessageBytes}" net.enableDNS="off"`,
      `  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile=${at("ca.pem")}`,
      `  defaultNetstreamDriverCertFile=${at("server.pem")} defaultNetstreamDriverKeyFile=${at("server.key")})`,
      `module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" ${peer})`,
      `template(name="raw" type="string" string="%rawmsg%\\n")`,
      `ruleset(name="kept" queue.type="Direct") { action(type="omfile" file=${at("received")} template="raw") }`,
      `input(type="imtcp" address="127.0.0.1" port="${this.#port}" listenPortFileName=${at("port")} ruleset="kept")`,
      `action(type="omfile" file=${at("own")})`,
      "",
    ].join("\n");
  }
}
