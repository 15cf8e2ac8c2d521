// Made with: node envelopes.js > envelopes.json (Node's own crypto; fixed keys and nonces, so that the result is always the same)
const { createCipheriv, createHash } = require("node:crypto");
const sha = (text) => createHash("sha256").update(text).digest();
const keys = { "key-1": sha("first"), "2026.05": sha("second") };
function sealed(key, iv, secret, aad) {
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  if (aad) cipher.setAAD(aad);
  const ciphertext = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return { ciphertext, tag: cipher.getAuthTag() };
}
function older(v, id, secret) {
  const iv = sha("iv " + secret).subarray(0, 12);
  const { ciphertext, tag } = sealed(keys[id], iv, secret);
  const [c, t] = [ciphertext.toString("base64"), tag.toString("base64")];
  return JSON.stringify({ v, iv: iv.toString("base64"), ciphertext: c, authTag: t });
}
function ours(id, secret, ...place) {
  const iv = sha("iv " + secret).subarray(0, 12);
  const part = (text) => {
    const bytes = Buffer.from(text, "utf8");
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(bytes.length));
    return Buffer.concat([length, bytes]);
  };
  const aad = Buffer.concat([`v2.${id}`, "identity.credential", ...place].map(part));
  const { ciphertext, tag } = sealed(keys[id], iv, secret, aad);
  return `v2.${id}.${iv.toString("base64url")}.${Buffer.concat([ciphertext, tag]).toString("base64url")}`;
}
const first = older(1, "key-1", "correct horse battery staple");
const second = older(2, "2026.05", "Grüße aus Zürich");
const place = ["test", "01HX0000000000000000000000", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "password"];
const out = {
  keys: Object.fromEntries(Object.entries(keys).map(([id, key]) => [id, key.toString("base64")])),
  older: [
    { form: "bare", secret: "correct horse battery staple", envelope: first },
    { form: "base64", secret: "correct horse battery staple", envelope: Buffer.from(first).toString("base64") },
    { form: "JSON string, as a jsonb column holds a text", secret: "correct horse battery staple", envelope: JSON.stringify(first) },
    { form: "bare, of the app's second key", secret: "Grüße aus Zürich", envelope: second },
    { form: "base64 without padding", secret: "Grüße aus Zürich", envelope: Buffer.from(second).toString("base64url") },
  ],
  ours: ["key-1", "2026.05"].map((id) => ({
    environment: place[0], user_id: place[1], did: place[2], column: place[3],
    secret: `sealed by ${id}: čeština`, envelope: ours(id, `sealed by ${id}: čeština`, ...place),
  })),
};
console.log(JSON.stringify(out, null, 2));
