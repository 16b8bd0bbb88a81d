// Send a WAV file to `edgeseq serve --vosk 127.0.0.1:2700`, and print the words as they come. Node 22 or newer, without packages;
// in a browser the same WebSocket takes the sound of a microphone.
//
//   node docs/examples/websocket_client.mjs speech.wav
import { readFileSync } from "node:fs";

const [path, url = "ws://127.0.0.1:2700"] = process.argv.slice(2);
if (!path) {
  console.error("Name a WAV file: node websocket_client.mjs speech.wav");
  process.exit(2);
}
const messages = [];
for (let sound = readFileSync(path); sound.length; sound = sound.subarray(3200)) messages.push(sound.subarray(0, 3200));
messages.push('{"eof": 1}');

const socket = new WebSocket(url);
const sendNext = () => messages.length && socket.send(messages.shift()); // each message has one answer
socket.onopen = sendNext;
socket.onmessage = ({ data }) => {
  const { text, partial } = JSON.parse(data);
  if (partial) console.error("...", partial);
  if (text) console.log(text);
  sendNext();
};
socket.onerror = () => {
  console.error(`No server answers at ${url}. Start one: edgeseq serve --vosk 127.0.0.1:2700`);
  process.exitCode = 1;
};
