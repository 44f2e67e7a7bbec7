// Asks llama.cpp, as node-llama-cpp brings it, what it makes of texts with a GGUF file.
// node llama_cpp.mjs NODE_LLAMA_CPP FILE.gguf MAX_TOKENS < a JSON list of texts > a JSON list
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [library, file, maxTokens] = process.argv.slice(2);
const {getLlama} = await import(pathToFileURL(`${library}/dist/index.js`));
const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: "error"});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({
    contextSize: 512, sequences: 1, threads: 1, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"
});
const sequence = context.getSequence();
const answers = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
    const prompt = model.tokenize(text, true);
    await sequence.clearHistory();
    const last = [prompt.at(-1), {generateNext: {probabilities: true}}];
    const next = (await sequence.controlledEvaluate([...prompt.slice(0, -1), last])).at(-1);
    const probabilities = [...next.next.probabilities].sort((a, b) => a[0] - b[0]);
    await sequence.clearHistory();
    const ids = [];
    for await (const token of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
        ids.push(token);
        if (model.isEogToken(token) || ids.length >= Number(maxTokens)) break;
    }
    answers.push({
        prompt, probabilities, ids,
        text: model.detokenize(ids),
        ends: model.isEogToken(ids.at(-1)),
        template: model.fileInfo.metadata.tokenizer.chat_template
    });
}
process.stdout.write(JSON.stringify(answers));
process.exit(0);
