// node jwt.mjs sign CLAIMS OPTIONS | verify TOKEN OPTIONS; the secret comes on stdin.
import { readFileSync } from "node:fs";
import jwt from "jsonwebtoken";

const [what, subject, options] = process.argv.slice(2);
const secret = readFileSync(0);
const o = JSON.parse(options ?? "{}");
console.log(what === "sign" ? jwt.sign(JSON.parse(subject), secret, o)
  : JSON.stringify(jwt.verify(subject, secret, { algorithms: ["HS256"], complete: true, ...o })));
