// node score.js MODEL.onnx INPUTS.json: prints the graph's outputs as JSON.
// INPUTS.json is {input: {type, dims, data}}, with null for NaN.
const { readFileSync } = require("node:fs");
const { InferenceSession, Tensor } = require("onnxruntime-node");

function tensor({ type, dims, data }) {
  if (type === "float64") return new Tensor(type, data.map((x) => (x === null ? NaN : x)), dims);
  return new Tensor(type, data, dims);
}

async function main([model, inputs]) {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1 });
  const given = JSON.parse(readFileSync(inputs, "utf8"));
  const feeds = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, tensor(value)]),
  );
  const found = await session.run(feeds);
  const plain = Object.entries(found).map(([name, value]) => [name, Array.from(value.data)]);
  console.log(JSON.stringify(Object.fromEntries(plain)));
}

main(process.argv.slice(2));
