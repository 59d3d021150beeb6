// node client.mjs URL OPTIONS: what npm's ws sees, one JSON object a line.
// OPTIONS: {"protocols": [...], "headers": {...}, "send": [...], "stop": N}: send these texts,
// close 1000 after N messages.
import WebSocket from "ws";

const [url, options] = process.argv.slice(2);
const { protocols = [], headers = {}, send = [], stop = 0 } = JSON.parse(options ?? "{}");
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n");
const ws = new WebSocket(url, protocols, { headers });
let n = 0;
ws.on("open", () => {
  say({ open: ws.protocol, extensions: ws.extensions });
  send.forEach((text) => ws.send(text));
});
ws.on("message", (data, binary) => {
  say(binary ? { binary: data.toString("base64") } : { text: data.toString() });
  if (++n === stop) ws.close(1000, "enough");
});
ws.on("close", (code, reason) => say({ close: code, reason: reason.toString() }));
ws.on("error", (e) => say({ error: e.message }));
ws.on("unexpected-response", (req, res) => {
  let body = "";
  res.on("data", (d) => (body += d));
  res.on("end", () => say({ status: res.statusCode, body, challenge: res.headers["www-authenticate"] }));
});
