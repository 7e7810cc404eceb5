// The `eventsource` package as a peer; usage and output as of ws.mjs.
import { createRequire } from "node:module";
const require = createRequire(`${process.env.CONDORITO_TEST_TOOLS}/node/`);
const { EventSource } = require("eventsource");

const [base, token, cursor, end] = process.argv.slice(2);
const source = new EventSource(`${base}/v1/events/stream?cursor=${cursor}`, {
  fetch: (input, init) =>
    fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
});
source.onmessage = ({ data, lastEventId }) => {
  const event = JSON.parse(data);
  if (!event.id) return;
  if (event.id !== lastEventId) throw new Error("id: is not the cursor");
  console.log(JSON.stringify({ id: event.id, type: event.type }));
  if (event.type === "new_message" && event.data.message.text === end) process.exit(0);
};
source.onerror = (error) => { console.error(error.message ?? error.code); process.exit(2); };
