// Tables of a page.

/** A table of texts. */
export function table(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** What has failed, and the verdict. */
export function end(failures, verdict) {
  return [...failures.map((line) => `- ${line}`), ...(failures.length > 0 ? [""] : []), `**${verdict}**`].join("\n");
}
