// The `ws` package as a peer. Usage: node ws.mjs BASE TOKEN CURSOR END
// Prints a line of JSON per event, `{id, type}`, and ends with the message whose text is END.
import { createRequire } from "node:module";
const require = createRequire(`${process.env.CONDORITO_TEST_TOOLS}/node/`);
const { WebSocket } = require("ws");

const [base, token, cursor, end] = process.argv.slice(2);
const url = `${base.replace("http", "ws")}/v1/ws?cursor=${cursor}`;
const socket = new WebSocket(url, ["condorito.v1", `bearer.${token}`], { perMessageDeflate: true });
let frames = 0;
socket.on("message", (text) => {
  const event = JSON.parse(text);
  if (frames++ === 0) {
    if (event.type !== "hello" || socket.protocol !== "condorito.v1") throw new Error("no hello");
    if (!socket.extensions.includes("permessage-deflate")) throw new Error("no compression");
  }
  if (!event.id) return;
  console.log(JSON.stringify({ id: event.id, type: event.type }));
  if (event.type === "new_message" && event.data.message.text === end) {
    socket.close(1000);
    socket.on("close", (code) => process.exit(code === 1000 ? 0 : 3));
  }
});
socket.on("error", (error) => { console.error(error.message); process.exit(2); });
