// Prints the objects of a stream: node subscriber.mjs ENDPOINT STREAM [MESSAGES].
// Needs: npm install zeromq
import { Subscriber } from "zeromq";

const [endpoint, stream, messages] = process.argv.slice(2);
let left = messages === undefined ? -1 : Number(messages);
const topic = `masks.${stream}`;
const socket = new Subscriber();
socket.connect(endpoint);
socket.subscribe(topic);
for await (const parts of socket) {
  if (parts[0].toString() !== topic) continue; // a subscription to cam1 also brings cam10
  const message = JSON.parse(parts[1].toString());
  for (const { id, label, state, box } of message.objects) {
    console.log(id, label, state, JSON.stringify(box));
  }
  if (--left === 0) break;
}
