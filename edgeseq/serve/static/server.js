// The server this page came from: its address, its token, what it says of itself.

const KEY = "edgeseq-token";

/** Take the token out of the address bar (it would be seen there, and saved) and keep it for this tab. */
export function takeToken() {
  const address = new URL(location.href);
  const token = address.searchParams.get("token");
  if (token === null) return;
  keepToken(token);
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** What the server says of itself; null if it wants another token. Throws an Error if it cannot be reached. */
export async function askAbout() {
  const answer = await fetch(addressOf("listen/about"), { cache: "no-store" });
  if (answer.status === 401) return null;
  if (!answer.ok)
    throw new Error((await answer.json().catch(() => null))?.error?.message ?? `The server answers ${answer.status}.`);
  return answer.json();
}

/** Where sound is sent. */
export function streamAddress() {
  const address = addressOf("listen");
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

/** Browsers let a WebSocket carry no header, so the token is in the address. */
function addressOf(path) {
  const address = new URL(path, document.baseURI);
  const token = sessionStorage.getItem(KEY);
  if (token !== null) address.searchParams.set("token", token);
  return address;
}

/** One sentence or two on where sound goes and what becomes of it. */
export function privacy(keepsAudio) {
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const way = location.protocol === "https:" ? "encrypted" : "not encrypted";
  const where = isHere
    ? "Sound stays on this machine: it goes to the server that runs here, and nowhere else."
    : `Sound goes to ${location.host} (${way} on the way) and nowhere else.`;
  const kept = keepsAudio ? "This server keeps what it hears, in a folder there." : "Nothing of it is kept there.";
  return `While you listen, ${where[0].toLowerCase()}${where.slice(1)} ${kept} Words stay in this tab until you clear or close it.`;
}
