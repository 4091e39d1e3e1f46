// Takes Alertmanager's notifications and writes each as one line of JSON, with the path it came to and when.
// node webhook.mjs FILE; prints its address when it listens.
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [file] = process.argv.slice(2);
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  appendFileSync(file, `${JSON.stringify({ path: request.url, at_ms: Date.now(), ...JSON.parse(body) })}\n`);
  response.end("ok");
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
