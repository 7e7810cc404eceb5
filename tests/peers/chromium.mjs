// Chromium as a peer: its own WebSocket and EventSource, from the page at `/` (the console itself is
// proved in web/e2e). Usage: node chromium.mjs BASE TOKEN CURSOR END. Prints `{via, id, type}` a line.
import { createRequire } from "node:module";
const require = createRequire(`${process.env.CONDORITO_TEST_TOOLS}/node/`);
const { chromium } = require("playwright-core");

const [base, token, cursor, end] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
const problems = [];
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(String(error)));

await page.goto(`${base}/`);
// The browser's own WebSocket and EventSource, from the cursor.
const seen = await page.evaluate(async ({ token, cursor, end }) => {
  const isEnd = (event) => event.type === "new_message" && event.data.message.text === end;
  const overSocket = new Promise((done, failed) => {
    const events = [];
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/ws?cursor=${cursor}`,
      ["condorito.v1", `bearer.${token}`]);
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (!event.id) return;
      events.push({ via: "websocket", id: event.id, type: event.type });
      if (isEnd(event)) { socket.close(); done(events); }
    };
    socket.onerror = () => failed(new Error("WebSocket failed"));
  });
  const overEvents = (async () => {
    const answer = await fetch("/v1/tickets", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    const { ticket } = await answer.json();
    return new Promise((done, failed) => {
      const events = [];
      const source = new EventSource(`/v1/events/stream?cursor=${cursor}&ticket=${ticket}`);
      source.onmessage = ({ data, lastEventId }) => {
        const event = JSON.parse(data);
        if (!event.id) return;
        if (event.id !== lastEventId) failed(new Error("lastEventId is not the cursor"));
        events.push({ via: "eventsource", id: event.id, type: event.type });
        if (isEnd(event)) { source.close(); done(events); }
      };
      source.onerror = () => failed(new Error("EventSource failed"));
    });
  })();
  return (await Promise.all([overSocket, overEvents])).flat();
}, { token, cursor, end });
seen.forEach((event) => console.log(JSON.stringify(event)));
await browser.close();
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(2);
}
