// node keys.mjs: stdin is a list of {lib, alg, key, header, claims}, key a private JWK; prints the
// list of tokens that jsonwebtoken or jose makes of them.
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import * as jose from "jose";
import jwt from "jsonwebtoken";

const made = [];
for (const { lib, alg, key, header, claims } of JSON.parse(readFileSync(0))) {
  if (lib === "jose") {
    made.push(await new jose.SignJWT(claims).setProtectedHeader({ alg, ...header })
      .sign(await jose.importJWK(key, alg)));
  } else {
    const k = key.kty === "oct" ? Buffer.from(key.k, "base64url") : createPrivateKey({ key, format: "jwk" });
    made.push(jwt.sign(claims, k, { algorithm: alg, header: { alg, ...header } }));
  }
}
console.log(JSON.stringify(made));
