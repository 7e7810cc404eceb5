// Chromium as a peer: its own WebSocket and EventSource, and the page at `/`.
// Usage: node chromium.mjs BASE TOKEN CURSOR END FOLDER
// Prints `{via, id, type}` a line; screenshots of the page go to FOLDER.
import { createRequire } from "node:module";
const require = createRequire(`${process.env.CONDORITO_TEST_TOOLS}/node/`);
const { chromium } = require("playwright-core");

const [base, token, cursor, end, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
const problems = [];
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
page.on("pageerror", (error) => problems.push(String(error)));

// The page itself, over each transport, from the snapshot.
for (const transport of ["ws", "sse", "poll"]) {
  await page.goto(`${base}/`);
  await page.evaluate((name) => localStorage.setItem("condorito.transport", name), transport);
  await page.goto("about:blank");
  await page.goto(`${base}/#token=${token}`);
  const colour = transport === "poll" ? "disconnected" : "connected";
  await page.waitForSelector(`#indicator[data-state=${colour}]`, { timeout: 15000 });
  await page.waitForFunction((wanted) => document.querySelector("#conversations")?.textContent.includes(wanted), end, { timeout: 15000 });
  await page.screenshot({ path: `${folder}/console-${transport}.png` });
}

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
