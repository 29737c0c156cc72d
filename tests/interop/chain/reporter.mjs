// What a test run says: a line a test, what went wrong, and how many passed.

export default async function* report(events) {
  let passed = 0;
  let failed = 0;
  for await (const { type, data } of events) {
    if (type === "test:pass") {
      passed += 1;
      yield `ok      ${data.name}\n`;
    } else if (type === "test:fail") {
      failed += 1;
      const { error } = data.details;
      yield `FAILED  ${data.name}\n${(error.cause?.stack ?? String(error.cause ?? error.message)).replace(/^/gm, "        ")}\n`;
    } else if (type === "test:stderr") {
      yield data.message;
    }
  }
  yield `${passed} passed, ${failed} failed\n`;
}
