// A policy in JavaScript, with nothing but Node.js: shortest area first, as examples/saf.py without its patience.
//
//     node examples/policy_server.mjs 50051 &
//     gigawatt run laptop --until 6h --policy grpc://localhost:50051
//
// Where each job goes, and whether it fits, is left to the run's placement. gRPC is HTTP/2 with five bytes before each message, and the few
// fields that are needed here are read and written by hand. With npm's @grpc/grpc-js and proto/emulator/v1/policy_service.proto the policy
// in the middle is all that has to be written.

import http2 from "node:http2";

// -- protobuf (protobuf.dev/programming-guides/encoding) ------------------------------------------------------------------------------

/** A variable-length integer at `at`: [value, where it ends]. Above 2^53 a value is rounded. */
function varint(bytes, at) {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at++];
    value += (byte & 127) * factor;
    if (byte < 128) return [value, at];
  }
}

/** The fields of a message: number -> list of values, each a number or bytes. */
function fields(bytes) {
  const found = {};
  for (let at = 0; at < bytes.length; ) {
    let tag, value;
    [tag, at] = varint(bytes, at);
    [value, at] = varint(bytes, at); // all fields of the protocol are integers, or have a length
    if (tag % 8 === 2) value = bytes.subarray(at, (at += value));
    (found[tag >> 3] ??= []).push(value);
  }
  return found;
}

/** The integers of a packed column, which may come in parts. */
function column(parts = []) {
  const values = [];
  for (const bytes of parts) {
    for (let value, at = 0; at < bytes.length; values.push(value)) [value, at] = varint(bytes, at);
  }
  return values;
}

/** An integer that is left out where it is 0. */
const integer = (message, number) => message[number]?.[0] ?? 0;

const zigzag = (value) => (value % 2 ? -(value + 1) / 2 : value / 2); // of sint32

function encoded(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}

/** A field with an integer, or with the bytes of a message. */
function field(number, value) {
  if (typeof value === "number") return Buffer.concat([encoded(number * 8), encoded(value)]);
  return Buffer.concat([encoded(number * 8 + 2), encoded(value.length), value]);
}

// -- the policy -----------------------------------------------------------------------------------------------------------------------

/** Answers the messages of one run. */
function planner() {
  const waiting = new Map(); // id -> what it is sorted by, the smallest first
  return function answer(request) {
    if (request[1]) return field(1, field(1, 1)); // opening: opened {protocol_version: 1}
    const cycle = fields(request[2][0]);
    for (const started of cycle[5] ?? []) waiting.delete(integer(fields(started), 1));
    for (const id of cycle[6] ? column(fields(cycle[6][0])[1]) : []) waiting.delete(id);
    const jobs = cycle[12] ? fields(cycle[12][0]) : {};
    const [ids, gpus, estimates, submits, priorities] = [1, 2, 4, 5, 6].map((number) => column(jobs[number]));
    ids.forEach((id, row) => waiting.set(id, [gpus[row] * estimates[row], -zigzag(priorities[row]), submits[row], id]));
    // Jobs that the run itself has started.
    for (const placed of cycle[14] ? fields(cycle[14][0])[2] : []) waiting.delete(integer(fields(placed), 1));
    if (integer(cycle, 3)) return null; // the view goes on in the next message
    const order = [...waiting.values()].sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);
    const actions = order.map((key) => field(2, field(1, field(1, key[3])))); // actions: action {start: {job_id}}
    return field(2, Buffer.concat([field(1, integer(cycle, 1)), ...actions])); // decisions {sequence, actions}
  };
}

// -- gRPC (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) --------------------------------------------------------------------

const server = http2.createServer();
server.on("stream", (stream, headers) => {
  const known = headers[":path"] === "/emulator.v1.PolicyService/Plan";
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": known ? "0" : "12" })); // 12: unimplemented
  stream.on("error", () => {}); // the run has gone
  if (!known) return stream.end();
  const answer = planner();
  let received = Buffer.alloc(0);
  stream.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
    while (received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
      const end = 5 + received.readUInt32BE(1);
      const message = answer(fields(received.subarray(5, end)));
      received = received.subarray(end);
      if (message === null) continue;
      const frame = Buffer.alloc(5);
      frame.writeUInt32BE(message.length, 1);
      stream.write(Buffer.concat([frame, message]));
    }
  });
  stream.on("end", () => stream.end());
});
server.listen(Number(process.argv[2] ?? 50051), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
