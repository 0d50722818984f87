import { createPrivateKey, X509Certificate } from "node:crypto";
import { constants } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { GatewayError } from "../../errors.ts";
import { codeOf } from "../../lib/error.ts";
import { fromHome } from "../../lib/home.ts";

/** The text of a file of certificates in PEM; `~/` is the home directory. @throws GatewayError CONFIG_INVALID */
export async function certificatesIn(file: string): Promise<string> {
  try {
    const text = await readFile(fromHome(file), "utf8");
    // OpenSSL passes over what it can't read, and would trust nobody.
    new X509Certificate(text);
    return text;
  } catch (cause) {
    throw new GatewayError("CONFIG_INVALID", `there is no certificate to be read in \`${file}\`${codeIn(cause)}`, {
      cause,
    });
  }
}

/** The text of a private key's file. @throws GatewayError CONFIG_INVALID, also when others may use it */
async function keyIn(file: string): Promise<string> {
  try {
    await using opened = await open(fromHome(file), constants.O_RDONLY | constants.O_NONBLOCK);
    const { mode } = await opened.stat();
    if ((mode & (constants.S_IRWXO | constants.S_IWGRP)) !== 0) {
      throw new GatewayError("CONFIG_INVALID", `others may use the key in \`${file}\`: \`chmod 600\` it`);
    }
    const text = await opened.readFile("utf8");
    createPrivateKey(text);
    return text;
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    throw new GatewayError("CONFIG_INVALID", `there is no key to be read in \`${file}\`${codeIn(cause)}`, { cause });
  }
}

/** A client's certificate and its key, as TLS takes them. @throws GatewayError CONFIG_INVALID */
export async function identityIn(files: { readonly certificate: string; readonly key: string }) {
  return { cert: await certificatesIn(files.certificate), key: await keyIn(files.key) };
}

function codeIn(error: unknown): string {
  const code = codeOf(error);
  return code === undefined ? "" : ` (${code})`;
}
