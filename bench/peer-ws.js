// peer-ws.js - the fan-out that one writes with npm's ws: node peer-ws.js PORT [SECRET-FILE]
//
// Each line of stdin goes to every client. With a secret file each client must show a
// token: jsonwebtoken checks it (HS256), and it opens one connection, by its jti.

"use strict";
const fs = require("fs");
const http = require("http");
const readline = require("readline");
const { WebSocketServer } = require("ws");

const [port, secretFile] = process.argv.slice(2);
const wss = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const server = http.createServer();
const used = new Map();

let allowed = () => true;
if (secretFile) {
	const jwt = require("jsonwebtoken");
	const secret = fs.readFileSync(secretFile, "utf8").replace(/\n$/, "");

	allowed = (request) => {
		const [scheme, token] = (request.headers.authorization || "").split(" ");
		if (scheme !== "Bearer")
			return false;
		try {
			const claims = jwt.verify(token, secret, { algorithms: ["HS256"] });
			if (!claims.exp || !claims.jti || used.has(claims.jti))
				return false;
			used.set(claims.jti, claims.exp);
			return true;
		} catch {
			return false;
		}
	};
}

server.on("upgrade", (request, socket, head) => {
	if (!allowed(request)) {
		socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
		return;
	}
	wss.handleUpgrade(request, socket, head, (client) => client.on("error", () => {}));
});
readline.createInterface({ input: process.stdin }).on("line", (line) => {
	for (const client of wss.clients)
		client.send(line);
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
