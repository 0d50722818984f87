import { lintSource } from "@secretlint/core";
import { creator, rules } from "@secretlint/secretlint-rule-preset-recommend";
import { expect, test } from "vitest";
import { redactText } from "../../src/audit/redact-text.ts";
import { nameHolds } from "../../src/audit/secrets.ts";

/*
 * What a maintained set of rules knows as secrets, the log does not keep: secretlint's recommended rules find each of these, and none of it is
 * left after redaction. A rule that a later version brings has no sample here, and makes this fail. Joined here, so that no scanner trips.
 */
const letters = (count: number) => "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzA1cD3eF5gH7jK9".repeat(60).slice(0, count);
const hex = (count: number) => "0a1b2c3d4e5f6789".repeat(40).slice(0, count);
const digits = (count: number) => "1029384756".repeat(10).slice(0, count);
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64");
const pem = (kind: string, body: string) =>
  `-----BEGIN ${kind}PRIVATE KEY-----\n${body}\n-----END ${kind}PRIVATE KEY-----`;
const each = (prefixes: string, ...bodies: readonly string[]) =>
  prefixes.split(" ").flatMap((prefix) => bodies.map((body) => `${prefix}${body}`));

/** By rule: texts that are a secret as a whole, or the secret and what stands around it. */
const SAMPLES: Readonly<Record<string, readonly (string | readonly [string, string, string])[]>> = {
  "1password": [
    `ops_${base64({ email: "ada@example.org", secretKey: letters(120), userAuth: { salt: letters(20) } })}`,
  ],
  anthropic: [`sk-ant-api03-${letters(93)}AA`],
  aws: [["AWS_SECRET_ACCESS_KEY=", letters(40), ""]],
  basicauth: [["https://ada:", letters(20), "@db.example.org/"]],
  cloudflare: each("cfk_ cfut_ cfat_", `${letters(40)}${hex(8)}`),
  "database-connection-string": [
    ["mongodb+srv://ada:", letters(16), "@c.example.org/db"],
    ["mysql://ada:", letters(16), "@c.example.org/db"],
    ["jdbc:mysql://ada:", letters(16), "@c.example.org/db"],
    ["postgresql://ada:", letters(16), "@c.example.org/db"],
  ],
  databricks: each("dapi", hex(32), `${hex(32).toUpperCase()}`),
  docker: [`dckr_pat_${letters(27)}`],
  figma: [`figd_${letters(40)}`],
  gcp: [['{"private_key_id":"x","private_key":"', pem("", letters(200)).replaceAll("\n", "\\n"), '"}']],
  github: [
    ...each("ghp_ gho_ ghu_ ghs_ ghr_", letters(36)),
    `github_pat_${letters(22)}_${letters(59)}`,
    `ghs_${digits(8)}_${letters(40)}.${letters(120)}.${letters(60)}`,
  ],
  gitlab: [`glpat-${letters(20)}`],
  grafana: [`glc_${letters(60)}==`, `glsa_${letters(32)}_${hex(8)}`],
  groq: [`gsk_${letters(52)}`],
  "hashicorp-vault": [`hvs.${letters(95)}`, `hvb.${letters(150)}`, `hvr.${letters(95)}`],
  huggingface: [`hf_${"aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"}`],
  linear: [`lin_api_${letters(40)}`],
  notion: [`ntn_${digits(11)}${letters(35)}`],
  npm: [`npm_${letters(36)}`, ["https://", letters(40), ":x-oauth-basic@github.com/a/b"]],
  openai: [`sk-proj-${letters(74)}T3BlbkFJ${letters(74)}`, `sk-${letters(20)}T3BlbkFJ${letters(20)}`],
  privatekey: ["RSA ", "EC ", "OPENSSH "].map((kind) => pem(kind, `MI${letters(300)}`)),
  sendgrid: [`SG.${letters(22)}.${letters(43)}`],
  shopify: each("shppa_ shpca_ shpat_ shpss_", hex(32), letters(48)),
  slack: [
    ["xoxb", digits(11), digits(12), letters(24)].join("-"),
    ["xapp", "1", `A${letters(10)}`, digits(13), hex(40)].join("-"),
    `https://hooks.slack.com/services/T${letters(9)}/B${letters(9)}/${letters(24)}`,
  ],
  stripe: each("sk_live_ sk_test_ rk_live_ rk_test_", letters(24)),
  tailscale: [`tskey-auth-${letters(17)}-${letters(32)}`],
  vercel: each("vcp_ vci_ vca_ vcr_ vck_", letters(24)),
};
/** It finds comments that switch rules off. */
const NO_SECRET = ["filter-comments"];

async function foundIn(content: string): Promise<string[]> {
  const source = { content, filePath: "/package.json", ext: ".json", contentType: "text" as const };
  const config = { rules: [{ id: creator.meta.id, rule: creator }] };
  const { messages } = await lintSource({ source, options: { config, noPhysicFilePath: true } });
  return messages.map(({ ruleId }) => ruleId.replace("@secretlint/secretlint-rule-", ""));
}

test("there is a sample for each rule of the set", () => {
  const known = rules.map(({ meta }) => meta.id.replace("@secretlint/secretlint-rule-", ""));
  expect(known.filter((it) => !NO_SECRET.includes(it)).toSorted()).toEqual(Object.keys(SAMPLES).toSorted());
});

test.each(Object.entries(SAMPLES))("what the rule of %s finds is not in the log", async (rule, samples) => {
  for (const sample of samples) {
    const [before, secret, after] = typeof sample === "string" ? ["", sample, ""] : sample;
    const text = `${before}${secret}${after}`;
    expect(await foundIn(text), text).toContain(rule);
    const clean = redactText(`x ${text} y`, (it) => it, nameHolds);
    expect(clean).not.toContain(secret);
    expect(clean).not.toContain(secret.slice(-16));
  }
});
