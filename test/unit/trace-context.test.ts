import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { bodyText } from "../../src/audit/body.ts";
import type { CallRequest } from "../../src/call/ports.ts";
import { GatewayError } from "../../src/errors.ts";
import { parentOf, readTraceContext } from "../../src/lib/trace-context.ts";
import { createLog } from "../../src/log.ts";
import { createServer } from "../../src/mcp/server.ts";
import { intent, outcome } from "../support/audit-bodies.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const PARENT = `00-${TRACE}-${SPAN}-01`;

test("a traceparent gives its ids", () => {
  expect(readTraceContext({ traceparent: PARENT })).toEqual({ traceparent: PARENT });
  expect(parentOf(PARENT)).toEqual({ traceId: TRACE, spanId: SPAN });
  expect(readTraceContext({ traceparent: PARENT, tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" })).toEqual({
    traceparent: PARENT,
    tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
  });
});

test.each([
  ["nothing", undefined],
  ["a number", 7],
  ["a list", [PARENT]],
  ["no text", { traceparent: [PARENT] }],
  ["capitals", { traceparent: PARENT.toUpperCase() }],
  ["a newline behind it", { traceparent: `${PARENT}\n` }],
  ["a space before it", { traceparent: ` ${PARENT}` }],
  ["another version", { traceparent: PARENT.replace(/^00/, "01") }],
  ["the version that is none", { traceparent: PARENT.replace(/^00/, "ff") }],
  ["more than the version has", { traceparent: `${PARENT}-00` }],
  ["no trace", { traceparent: `00-${"0".repeat(32)}-${SPAN}-01` }],
  ["no parent", { traceparent: `00-${TRACE}-${"0".repeat(16)}-01` }],
  ["digits of another script", { traceparent: PARENT.replace("4", "\u0664") }],
  ["text", { traceparent: "\u001b[2J" }],
])("%s is no trace context", (_what, meta) => {
  expect(readTraceContext(meta)).toBeUndefined();
});

test.each([
  ["empty", ""],
  ["only commas", ",,"],
  ["no value", "a"],
  ["an empty value", "a="],
  ["no key", "=1"],
  ["a key twice", "a=1,a=2"],
  ["two equals signs", "a=1=2"],
  ["capitals in a key", "A=1"],
  ["more than 32 members", Array.from({ length: 33 }, (_, at) => `k${at}=1`).join()],
  ["longer than 512", `a=${"x".repeat(255)},b=${"x".repeat(255)}`],
  ["a control character", "a=\u001b[2J"],
  ["a newline at the end", "a=1\n"],
  ["a letter beyond ASCII", "a=\u00e9"],
  ["no text", 7],
])("a state that is %s is left out, and the parent stays", (_what, tracestate) => {
  expect(readTraceContext({ traceparent: PARENT, tracestate })).toEqual({ traceparent: PARENT });
});

test("white space around members and empty members are as the standard allows", () => {
  const tracestate = "a=1 ,\t,b@c=2\t, d-*/_0=! ~";
  expect(readTraceContext({ traceparent: PARENT, tracestate })).toEqual({ traceparent: PARENT, tracestate });
});

test("whatever a client sends, what is taken is short, and hexadecimal or printable", () => {
  const text = fc.oneof(fc.string({ maxLength: 700, unit: "binary" }), fc.stringMatching(/^[a-z=,@ 0-9-]{0,600}$/));
  const state = fc.oneof(text, fc.anything());
  fc.assert(
    fc.property(fc.oneof(fc.constant(PARENT), text, fc.anything()), state, (traceparent, tracestate) => {
      const read = readTraceContext({ traceparent, tracestate });
      if (!read) return;
      expect(read.traceparent).toMatch(/^[0-9a-f-]{55}$/);
      expect(read.tracestate ?? "a=1").toMatch(/^[\t\x20-\x7e]{3,512}$/);
    }),
  );
});

test("a record takes every trace context that was read, and redaction leaves the parent as it is", () => {
  const states = fc.constantFrom("a=1", "vendor=password:hunter22222", "k=ghp_0123456789abcdefghijABCDEFGHIJ012345");
  const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
  fc.assert(
    fc.property(hex(32), hex(16), hex(2), states, (trace, span, flags, tracestate) => {
      const read = readTraceContext({ traceparent: `00-${trace}-${span}-${flags}`, tracestate });
      if (!read) return;
      for (const body of [
        { ...intent("call-1"), trace: read },
        { ...outcome("call-1"), trace: read },
      ]) {
        const written = JSON.parse(bodyText(body));
        expect(written.trace.traceparent).toBe(read.traceparent);
        expect(written.trace.tracestate).not.toContain("ghp_");
      }
    }),
  );
});

test.each([
  ["as it should be", { traceparent: PARENT, tracestate: "a=1" }, { traceparent: PARENT, tracestate: "a=1" }],
  ["malformed", { traceparent: "00-zz", tracestate: "a=1" }, undefined],
  ["of another kind", { traceparent: 7 }, undefined],
])("a tool call brings its `_meta` along: %s", async (_what, meta, trace) => {
  const requests: CallRequest[] = [];
  const server = createServer({
    version: "1.0.0",
    instructions: "",
    capabilities: () => [],
    onCapabilities: () => new DisposableStack(),
    skills: () => [],
    call: async (request) => {
      requests.push(request);
      return { kind: "failed", callId: "call-1", error: new GatewayError("UNKNOWN_TOOL") };
    },
    stopping: new AbortController().signal,
    log: createLog("silent"),
  });
  const client = new Client({ name: "test", version: "1.0.0" });
  const [ours, theirs] = InMemoryTransport.createLinkedPair();
  await Promise.all([server.connect(ours), client.connect(theirs)]);
  onTestFinished(async () => {
    await client.close();
    await server.close();
  });
  const answer = await client.callTool({ name: "exec", arguments: {}, _meta: meta as Record<string, unknown> });
  expect(requests.map((it) => it.trace)).toEqual([trace]);
  expect(requests[0]?.requestId).toMatch(/^\d+$/);
  expect(JSON.stringify(answer)).not.toContain("00-");
});
