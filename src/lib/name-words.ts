const MAX_NAME_CHARS = 200;

/** The words of a name in small letters, in whatever case and with whatever separators it is written: `customerId`, `CUSTOMER_ID` and `--customer-id` are one. */
export function nameWords(name: string): string[] {
  return name
    .slice(-MAX_NAME_CHARS)
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "");
}
