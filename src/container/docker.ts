import { setMaxListeners } from "node:events";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import Docker from "dockerode";
import { z } from "zod";
import type { Machine } from "../engine/engine.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { codeOf } from "../lib/error.ts";
import type { ContainerApi } from "./api.ts";
import type { Container, ContainerSpec } from "./container.ts";
import { engineTrees } from "./engine-trees.ts";
import { EVENTS, followEvents } from "./events.ts";
import { startRun } from "./exec.ts";
import { containerFailure } from "./failure.ts";
import { containerFiles, settleDirectories } from "./files.ts";
import { AGENT_USER, hardenedOptions } from "./hardening.ts";
import { type EngineWord, readEngineWord } from "./inspection.ts";
import { EngineRefusal, guestModem } from "./modem.ts";
import type { RunHost } from "./run.ts";

const OPEN_TIMEOUT_MS = 120_000;

const idSchema = z.string().regex(/^[0-9a-f]{64}$/);
const stateSchema = z.object({ State: z.object({ Running: z.boolean() }) });
const execStateSchema = z.object({ Pid: z.int().min(0).max(4_194_304), ExitCode: z.int().nullish() });

/**
 * Creates and starts the one hardened container on the machine's own engine; answers its id. It ends with its machine, which
 * takes a fraction of the time that a removal would.
 * @throws GatewayError CONTAINER_FAILED, DISK_FULL, MACHINE_LOST; the signal's reason when aborted
 */
export async function startContainer(spec: ContainerSpec, machine: Machine, signal: AbortSignal): Promise<string> {
  const docker = engineOf(machine);
  const ended = AbortSignal.any([signal, machine.lost]);
  try {
    const abortSignal = deadline(OPEN_TIMEOUT_MS, ended);
    const container = await docker.createContainer({ ...hardenedOptions(spec), abortSignal });
    const id = checked(idSchema, container.id);
    await settleDirectories(containerApi(docker, container), abortSignal);
    await container.start({ abortSignal });
    return id;
  } catch (error) {
    throw await containerFailure(error, machine.lost, signal);
  }
}

/**
 * The container `id`, which runs already, by way of the engine alone: for engines without our agent in the machine, and the
 * reference for what `agent-container.ts` does faster. Disposal ends every connection to it.
 * @throws GatewayError CONTAINER_FAILED, MACHINE_LOST; the signal's reason when aborted
 */
export async function engineContainer(id: string, machine: Machine, signal: AbortSignal): Promise<Container> {
  const docker = engineOf(machine);
  const breakage = new AbortController();
  const broken = AbortSignal.any([machine.lost, breakage.signal]);
  // As many listen as programs run and files are read.
  setMaxListeners(0, broken);
  const breakWith = (reason: unknown) => {
    breakage.abort(reason);
    machine.condemn(asGatewayError(reason));
  };
  const close = () => breakage.abort(new GatewayError("SESSION_CLOSED", "the sandbox is closed"));
  try {
    const abortSignal = deadline(OPEN_TIMEOUT_MS, AbortSignal.any([signal, broken]));
    const filters = { event: EVENTS, container: [id] };
    const stream = readable(await docker.getEvents({ filters, abortSignal: broken }));
    const events = followEvents(stream, (reason) => {
      if (!broken.aborted) void containerFailure(reason, machine.lost).then(breakWith);
    });
    const container = docker.getContainer(id);
    // It may have ended before its events were followed.
    const { State } = checked(stateSchema, await container.inspect({ abortSignal }));
    if (!State.Running) throw new GatewayError("CONTAINER_FAILED", "the sandbox's first process has ended");
    const api = containerApi(docker, container);
    const host = { api, events, machine, broken, exclusive: queue(), breakWith };
    return {
      id,
      run: (run, signal) => startRun(host, run, signal),
      ...containerFiles(api, broken),
      ...engineTrees(api, broken),
      [Symbol.asyncDispose]: async () => close(),
    };
  } catch (error) {
    const failure = await containerFailure(error, broken, signal);
    close();
    throw failure;
  }
}

/**
 * What the machine's engine says of itself and of the container `id`: asked outside of the container, where its programs can't interfere.
 * @throws GatewayError CHANNEL_VIOLATION, CONTAINER_FAILED, MACHINE_LOST; the signal's reason when aborted
 */
export async function inspectContainer(id: string, machine: Machine, abortSignal: AbortSignal): Promise<EngineWord> {
  const docker = engineOf(machine);
  // dockerode takes options; its types say nothing of them.
  const info: (options: { readonly abortSignal: AbortSignal }) => Promise<unknown> = docker.info.bind(docker);
  try {
    const answers = [docker.getContainer(id).inspect({ abortSignal }), info({ abortSignal })];
    const [inspected, ofEngine] = await Promise.all<unknown>(answers);
    const word = readEngineWord(inspected, ofEngine);
    if (word.container.id === id) return word;
    throw new GatewayError("CHANNEL_VIOLATION", "the engine answers of another container than it was asked about");
  } catch (error) {
    const broken = brokenWord(error);
    if (broken !== undefined) {
      throw new GatewayError("CHANNEL_VIOLATION", `the machine's engine is not what was started: ${broken}`, {
        cause: error,
      });
    }
    throw await containerFailure(error, machine.lost, abortSignal);
  }
}

/** What no engine of ours answers, however busy it is. One that is late, fails or is cut off may have no part in that. */
function brokenWord(error: unknown): string | undefined {
  if (error instanceof EngineRefusal && error.status === 404) return `it knows no such container: ${error.message}`;
  const code = codeOf(error) ?? "";
  return code.startsWith("HPE_") && code !== "HPE_INVALID_EOF_STATE" ? "it does not answer in HTTP" : undefined;
}

function engineOf(machine: Machine): Docker {
  const transport = { modem: guestModem(machine.dockerAgent), Promise };
  return new Docker(transport);
}

/** Runs what it is given one after the other, whether it succeeds or not. */
function queue(): RunHost["exclusive"] {
  let last = Promise.resolve();
  return (act) => {
    const next = last.then(act);
    last = next.catch(() => undefined);
    return next;
  };
}

function containerApi(docker: Docker, container: Docker.Container): ContainerApi {
  return {
    createExec: async ({ argv, cwd, env, stdin, terminal }, abortSignal) => {
      const exec = await container.exec({
        Cmd: [...argv],
        WorkingDir: cwd,
        Env: [...env],
        User: AGENT_USER,
        AttachStdin: stdin,
        AttachStdout: true,
        AttachStderr: true,
        Tty: terminal !== undefined,
        ...(terminal && { ConsoleSize: [terminal.rows, terminal.columns] }),
        Privileged: false,
        abortSignal,
      });
      return checked(idSchema, exec.id);
    },
    startExec: (execId, { stdin, terminal }, abortSignal) =>
      docker.getExec(execId).start({ hijack: true, stdin, Detach: false, Tty: terminal !== undefined, abortSignal }),
    inspectExec: async (execId, abortSignal) => {
      const state = checked(execStateSchema, await docker.getExec(execId).inspect({ abortSignal }));
      return { pid: state.Pid, ...(typeof state.ExitCode === "number" && { exitCode: state.ExitCode }) };
    },
    pause: async (abortSignal) => {
      await container.pause({ abortSignal });
    },
    unpause: async (abortSignal) => {
      await container.unpause({ abortSignal });
    },
    statHeader: async (path, abortSignal) => {
      try {
        const response: IncomingMessage = await container.infoArchive({ path, abortSignal });
        response.resume();
        return checked(z.string(), response.headers["x-docker-container-path-stat"]);
      } catch (error) {
        // The answer to a HEAD has no words; the same question asked with GET fails with them.
        if (error instanceof EngineRefusal && error.status >= 500) {
          readable(await container.getArchive({ path, abortSignal })).destroy();
        }
        throw error;
      }
    },
    getArchive: async (path, abortSignal) => readable(await container.getArchive({ path, abortSignal })),
    putArchive: async (directory, tar, abortSignal) => {
      await container.putArchive(tar, { path: directory, noOverwriteDirNonDir: true, abortSignal });
    },
  };
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new GatewayError("CHANNEL_VIOLATION", "an answer of the engine can't be read", { cause: result.error });
}

/** What the modem hands out for a stream; dockerode's types say less. */
function readable(stream: NodeJS.ReadableStream): Readable {
  if (stream instanceof Readable) return stream;
  throw new GatewayError("INTERNAL", "the engine's answer is not a stream");
}
