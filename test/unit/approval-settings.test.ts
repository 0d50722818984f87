import { expect, test } from "vitest";
import { approvalsSchema } from "../../src/approval/settings.ts";

const webhook = { url: "https://approvals.example.org/glovebox", secret: { env: "APPROVALS_SECRET" } };
const slack = {
  channel: "C024BE91L",
  token: { file: "/etc/glovebox/slack-token" },
  signingSecret: { command: ["pass", "slack"] },
  listen: { port: 8787 },
};

test("what is left out has its default, and what is asked for by no setting is not there", () => {
  expect(approvalsSchema.parse({})).toEqual({ timeoutSeconds: 600, elicitation: true });
  expect(approvalsSchema.parse({ webhook, slack, terminal: false })).toEqual({
    timeoutSeconds: 600,
    elicitation: true,
    terminal: false,
    webhook: { ...webhook, pollSeconds: 2 },
    slack: {
      ...slack,
      listen: { host: "127.0.0.1", port: 8787 },
      signingSecret: { command: ["pass", "slack"], timeoutMs: 15_000 },
    },
  });
});

test.each([
  ["an unknown key", { timeout: 5 }, "timeout"],
  ["a time too short to read a question", { timeoutSeconds: 9 }, "timeoutSeconds"],
  ["more than a day", { timeoutSeconds: 86_401 }, "timeoutSeconds"],
  ["nobody who may answer", { terminal: { approvers: [] } }, "terminal"],
  ["a webhook without TLS", { webhook: { ...webhook, url: "http://approvals.example.org/" } }, "https://"],
  ["a webhook with a password", { webhook: { ...webhook, url: "https://a:b@example.org/" } }, "https://"],
  ["a webhook at no address", { webhook: { ...webhook, url: "approvals" } }, "https://"],
  ["a secret in the file itself", { webhook: { ...webhook, secret: "whsec_x" } }, "secret"],
  ["a secret from two places", { webhook: { ...webhook, secret: { env: "A", file: "/a" } } }, "exactly one"],
  ["a channel's name", { slack: { ...slack, channel: "#approvals" } }, "not its name"],
  ["a member's name", { slack: { ...slack, approvers: ["ada"] } }, "not a name"],
  ["a host name to listen on", { slack: { ...slack, listen: { host: "example.org", port: 1 } } }, "an address"],
  ["no port", { slack: { ...slack, listen: {} } }, "port"],
  ["no signing secret", { slack: { ...slack, signingSecret: undefined } }, "signingSecret"],
])("%s is refused", (_, settings, place) => {
  const { error } = approvalsSchema.safeParse(settings);
  expect(JSON.stringify(error?.issues)).toContain(place);
});
