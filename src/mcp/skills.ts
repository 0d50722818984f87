import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  McpError,
  ReadResourceRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { printable, utf8 } from "../lib/text.ts";
import { SKILL_FILE } from "../skill/frontmatter.ts";
import type { Skill } from "../skill/skill.ts";

const SCHEME = "skill://";
/** Of a person's request. */
const MAX_REQUEST_CHARS = 10_000;

/** The texts and files of skills as MCP resources, and a prompt for each, of those that policy lets be used. */
export function serveSkills(server: Server, skills: () => readonly Skill[]): void {
  server.setRequestHandler(ListResourcesRequestSchema, () => ({
    resources: skills().flatMap((skill) =>
      [...skill.files].map(([path, { content }]) => ({
        uri: uriOf(skill, path),
        name: `${skill.name}/${path}`,
        ...(path === SKILL_FILE && { description: skill.description }),
        mimeType: mimeTypeOf(path, content),
        size: content.length,
      })),
    ),
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params: { uri } }) => {
    for (const skill of skills()) {
      for (const [path, { content }] of skill.files) {
        if (uriOf(skill, path) !== uri) continue;
        const mimeType = mimeTypeOf(path, content);
        const text = utf8(content);
        return {
          contents: [{ uri, mimeType, ...(text === undefined ? { blob: content.toString("base64") } : { text }) }],
        };
      }
    }
    throw new McpError(ErrorCode.InvalidParams, `there is no resource \`${printable(uri, 300)}\``);
  });
  server.setRequestHandler(ListPromptsRequestSchema, () => ({
    prompts: skills().map(({ name, description }) => ({
      name,
      description,
      arguments: [{ name: "request", description: "What is to be done, in your own words." }],
    })),
  }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params: { name, arguments: args } }) => {
    const skill = skills().find((it) => it.name === name);
    if (!skill) throw new McpError(ErrorCode.InvalidParams, `there is no prompt \`${printable(name, 100)}\``);
    const request = args?.["request"]?.slice(0, MAX_REQUEST_CHARS).trim() ?? "";
    const text = [
      `Use the skill \`${skill.name}\`: call useSkill with its name, then its tools.`,
      skill.instructions,
      ...(request === "" ? [] : [`What I want: ${request}`]),
    ].join("\n\n");
    return {
      description: skill.description,
      messages: [{ role: "user" as const, content: { type: "text" as const, text } }],
    };
  });
}

function uriOf({ name }: Skill, path: string): string {
  return `${SCHEME}${name}/${path}`;
}

function mimeTypeOf(path: string, content: Buffer): string {
  if (path.endsWith(".md")) return "text/markdown";
  return utf8(content) === undefined ? "application/octet-stream" : "text/plain";
}
