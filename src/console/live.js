// The live view: the feed of one tenant over the transport of choice, always from one cursor.
// It uses the public contract alone (docs/protocol.md), as any client would.

const EVENTS_SHOWN = 40;
const CONVERSATIONS_SHOWN = 12;

const texts = {
  es: {
    transport: "Transporte", polling: "Sondeo", language: "Idioma", token: "Token de acceso",
    enter: "Entrar", conversations: "Conversaciones", events: "Eventos",
    tokenHelp: "Un token se crea con «condorito token»; con «make run» el enlace impreso ya lo trae.",
    connected: "Tiempo real activo", connecting: "Conectando…", error: "Error de conexión",
    disconnected: "Desconectado", usingPolling: "Desconectado: usando sondeo",
    received: "Recibidos", sent: "Enviados", delivered: "Entregados", read: "Leídos",
    failed: "Fallidos", unread: "Sin leer", bot: "Bot", whatsapp: "WhatsApp", noName: "Sin nombre",
    states: { active: "activo", paused: "en pausa", error: "error", offline: "apagado", disconnected: "desconectado",
      connecting: "conectando", qr: "esperando QR", connected: "conectado" },
  },
  en: {
    transport: "Transport", polling: "Polling", language: "Language", token: "Access token",
    enter: "Sign in", conversations: "Conversations", events: "Events",
    tokenHelp: "“condorito token” mints one; the link that “make run” prints carries one already.",
    connected: "Live", connecting: "Connecting…", error: "Connection error",
    disconnected: "Disconnected", usingPolling: "Disconnected: polling",
    received: "Received", sent: "Sent", delivered: "Delivered", read: "Read",
    failed: "Failed", unread: "Unread", bot: "Bot", whatsapp: "WhatsApp", noName: "No name", states: {},
  },
};

const byId = (id) => document.getElementById(id);
const state = {
  language: localStorage.getItem("condorito.language") ?? "es",
  transport: localStorage.getItem("condorito.transport") ?? "ws",
  token: null, cursor: null, conversations: new Map(), counters: {}, connection: "disconnected",
};
const text = (key) => texts[state.language][key];

// Connecting ------------------------------------------------------------------------------

let stop = () => {};
let failures = 0;

function connect() {
  stop();
  const signal = new AbortController();
  stop = () => signal.abort();
  show("connecting");
  const run = { ws: overWebSocket, sse: overServerSentEvents, poll: overPolling }[state.transport];
  run(signal.signal).then(
    () => again(signal.signal, 0),
    (failure) => {
      if (signal.signal.aborted) return;
      if (failure?.unauthorized) return signOut();
      show("error");
      again(signal.signal, Math.min(30, 2 ** failures++) * (0.5 + Math.random() / 2));
    },
  );
}

function again(signal, seconds) {
  if (signal.aborted) return;
  setTimeout(() => signal.aborted || connect(), seconds * 1000);
}

const query = (more = {}) => {
  const start = state.cursor ? { cursor: state.cursor } : { snapshot: "true" };
  return new URLSearchParams({ ...start, ...more }).toString();
};

function overWebSocket(signal) {
  const url = new URL(`/v1/ws?${query()}`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new Promise((ended, failed) => {
    const socket = new WebSocket(url, ["condorito.v1", `bearer.${state.token}`]);
    signal.addEventListener("abort", () => socket.close());
    socket.onmessage = (message) => take(JSON.parse(message.data));
    socket.onclose = ({ code }) => {
      if (code === 1001 || code === 1012) ended();
      else failed({ unauthorized: code === 4401 });
    };
  });
}

async function overServerSentEvents(signal) {
  // EventSource can't send headers: a one-time ticket stands in for the token.
  const answer = await call("/v1/tickets", { method: "POST", signal });
  const { ticket } = await answer.json();
  return new Promise((ended, failed) => {
    const source = new EventSource(`/v1/events/stream?${query({ ticket })}`);
    signal.addEventListener("abort", () => source.close());
    source.onmessage = (message) => take(JSON.parse(message.data));
    source.onerror = () => { source.close(); failed({}); };
  });
}

async function overPolling(signal) {
  if (!state.cursor) {
    const snapshot = await call("/v1/snapshot", { signal });
    take({ type: "snapshot", data: await snapshot.json() });
  }
  // The first answer comes at once, so that the page knows where it stands.
  for (let wait = "0"; ; wait = "25") {
    const answer = await call(`/v1/events?${query({ wait, limit: "500" })}`, { signal }, [410]);
    const body = await answer.json();
    if (answer.status === 410) { state.cursor = null; return; }
    show("connected");
    body.events.forEach(take);
    state.cursor = body.cursor;
  }
}

async function call(path, options, alsoGood = []) {
  const headers = { Authorization: `Bearer ${state.token}` };
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok && !alsoGood.includes(answer.status)) {
    throw { unauthorized: answer.status === 401 };
  }
  return answer;
}

// Taking in -------------------------------------------------------------------------------

function take(event) {
  if (event.id) state.cursor = event.id;
  const data = event.data;
  switch (event.type) {
    case "hello":
      failures = 0;
      show("connected");
      state.cursor ??= data.cursor;
      return;
    case "snapshot":
      state.conversations = new Map(data.conversations.map((one) => [one.id, one]));
      state.cursor = data.cursor;
      counters(data.stats);
      state.counters.bot = data.botStatus.status;
      state.counters.whatsapp = data.whatsappState.status;
      break;
    case "reset":
      state.cursor = null;
      return connect();
    case "new_message":
    case "conversation_updated":
      state.conversations.set(data.conversation.id, data.conversation);
      break;
    case "stats_updated": counters(data.stats); break;
    case "bot_status_changed": state.counters.bot = data.botStatus.status; break;
    case "whatsapp_status_changed": state.counters.whatsapp = data.whatsappState.status; break;
  }
  if (event.id) addEvent(event);
  requestDraw();
}

function counters(stats) {
  const { received, sent, delivered, read, failed } = stats.today;
  Object.assign(state.counters, { received, sent, delivered, read, failed, unread: stats.conversations.unread });
}

// Showing ---------------------------------------------------------------------------------

const element = (name, content) => Object.assign(document.createElement(name), { textContent: content });

function summary({ type, data }) {
  if (type === "new_message") return `${data.conversation.contact.name ?? "…"}: ${data.message.text ?? data.message.type}`;
  if (type === "message_status_updated") return `${data.status} · ${data.message_id}`;
  if (type === "conversation_updated") return `#${data.conversation.id}`;
  if (type === "bot_status_changed") return data.botStatus.status;
  if (type === "whatsapp_status_changed") return data.whatsappState.status;
  return JSON.stringify(data);
}

function addEvent(event) {
  const line = document.createElement("li");
  line.dataset.cursor = event.id;
  line.append(element("span", `${event.id} ${event.type}`), element("p", summary(event)));
  byId("events").prepend(line);
  while (byId("events").childElementCount > EVENTS_SHOWN) byId("events").lastChild.remove();
}

let drawAsked = false;
function requestDraw() {
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(() => { drawAsked = false; draw(); });
}

function draw() {
  byId("cursor").textContent = state.cursor ?? "";
  const panel = document.querySelector(".counters");
  for (const key of ["received", "sent", "delivered", "read", "failed", "unread", "bot", "whatsapp"]) {
    let box = panel.querySelector(`[data-key=${key}]`);
    if (!box) {
      box = document.createElement("div");
      box.dataset.key = key;
      box.append(element("b", ""), element("span", ""));
      panel.append(box);
    }
    box.lastChild.textContent = text(key);
    const known = state.counters[key] ?? "–";
    const value = String(text("states")[known] ?? known);
    if (box.firstChild.textContent !== value) {
      box.firstChild.textContent = value;
      box.classList.remove("pulse");
      void box.offsetWidth;
      box.classList.add("pulse");
    }
  }
  const newest = [...state.conversations.values()]
    .sort((a, b) => b.updated_at.localeCompare(a.updated_at)).slice(0, CONVERSATIONS_SHOWN);
  byId("conversations").replaceChildren(...newest.map((one) => {
    const line = document.createElement("li");
    const words = document.createElement("div");
    words.append(element("strong", one.contact.name ?? one.contact.phone ?? text("noName")),
      element("p", one.last_message?.text ?? one.last_message?.type ?? ""));
    line.append(words);
    if (one.unread_count > 0) line.append(element("em", one.unread_count));
    return line;
  }));
}

function show(connection) {
  state.connection = connection;
  const indicator = byId("indicator");
  const polling = connection === "connected" && state.transport === "poll";
  indicator.dataset.state = polling ? "disconnected" : connection;
  indicator.lastChild.textContent = text(polling ? "usingPolling" : connection);
}

function translate() {
  document.documentElement.lang = state.language;
  document.querySelectorAll("[data-text]").forEach((one) => { one.textContent = text(one.dataset.text); });
  show(state.connection);
  draw();
}

// Signing in ------------------------------------------------------------------------------

function signIn(token) {
  state.token = token;
  sessionStorage.setItem("condorito.token", token);
  byId("sign-in").hidden = true;
  document.querySelector("main").hidden = false;
  connect();
}

function signOut() {
  sessionStorage.removeItem("condorito.token");
  state.token = null;
  show("error");
  byId("sign-in").hidden = false;
}

for (const name of ["transport", "language"]) {
  const choice = byId(name);
  choice.value = state[name];
  choice.addEventListener("change", () => {
    state[name] = choice.value;
    localStorage.setItem(`condorito.${name}`, choice.value);
    translate();
    if (name === "transport" && state.token) connect();
  });
}
byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(byId("token").value.trim());
});
translate();
// The demo's link carries a token behind the #, which browsers don't send to the server.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) history.replaceState(null, "", location.pathname);
const token = given ?? sessionStorage.getItem("condorito.token");
if (token) signIn(token);
else byId("sign-in").hidden = false;
