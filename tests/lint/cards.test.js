/*
 * The cards of models/: they fit their schema, don't contradict themselves, and tell the memory that the engine plans.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { faultsOfCards, stillTrue } from '../../tools/cards.mjs'
import { memoryOf } from '../../tools/cards/plan.mjs'
import { readCards } from '../../tools/cards/read.mjs'
import { faultsOf } from '../../tools/cards/schema.mjs'
import { constants } from '../../tools/support.mjs'
import { read } from './files.mjs'

const schema = JSON.parse(read('models/schema.json'))
const cards = readCards()

test('every card fits models/schema.json and does not contradict itself', () => {
  assert.deepEqual(faultsOfCards(), [])
})

test('the schema refuses what is missing, unknown, of the wrong type, out of range or of no form', () => {
  const [card] = cards
  assert.deepEqual(faultsOf(schema, card, 'card'), [])
  const refused = (/** @type {(card: any) => void} */ change, /** @type {RegExp} */ words) => {
    const changed = structuredClone(card)
    change(changed)
    assert.match(faultsOf(schema, changed, 'card').join('\n'), words)
  }
  refused((one) => delete one.licence, /card lacks licence/)
  refused((one) => (one.size = 1), /unknown key size/)
  refused((one) => (one.sha256 = 'ABC'), /card\.sha256 does not match/)
  refused((one) => (one.bytes = 1.5), /card\.bytes is of type number/)
  refused((one) => (one.bytes = 0), /card\.bytes is below 1/)
  refused((one) => (one.home = 'http://models.example/a'), /card\.home does not match/)
  refused((one) => (one.kind = 'toy'), /card\.kind is "toy"/)
  refused((one) => (one.sources = []), /card\.sources has too few/)
  refused((one) => (one.sources = [{ kind: 'url' }]), /card\.sources\[0\]/)
  refused((one) => (one.licence = { spdx: 'MIT', name: 'MIT' }), /card\.licence has the unknown key name/)
  refused((one) => (one.shape.layers = '30'), /card\.shape\.layers is of type string/)
  refused((one) => (one.memory = { weights: 1, rooms: { 512: {} } }), /card\.memory\.rooms\.512 lacks kv/)
  refused((one) => (one.passed = [{ what: '' , how: 'x' }]), /card\.passed\[0\]\.what is too short/)
  assert.throws(() => faultsOf({ maxProperties: 3 }, card, 'card'), /maxProperties/)
  assert.throws(() => faultsOf({ $ref: '#/$defs/nothing' }, card, 'card'), /nothing/)
})

test('there is a card for each of the models that the guide compares', () => {
  const wanted = `SmolLM2 135M Instruct, SmolLM2 360M Instruct, SmolLM2 1.7B Instruct, Qwen2.5 0.5B Instruct, Qwen3 0.6B,
    Gemma 3 270M, Gemma 3 270M Instruct, Gemma 3 1B Instruct, Llama 3.2 1B Instruct, Pythia 70M, Pythia 160M, Pythia 410M,
    Pythia 1B, Pythia 1.4B, OPT 125M, OPT 350M, OPT 1.3B, StableLM 2 1.6B, Phi-1.5, Phi-2, TinyLlama 1.1B Chat,
    Sheared LLaMA 1.3B, all-MiniLM-L6-v2`.split(/,\s+/)
  const names = cards.map((card) => card.name)
  assert.deepEqual(wanted.filter((name) => !names.includes(name)), [])
})

test('the memory in each card is what the engine plans, and null only where it does not run such a model', async () => {
  for (const card of cards) {
    const made = await memoryOf(card)
    assert.ok(stillTrue(card.memory, made), `${card.id}: run node tools/cards.mjs plan`)
  }
  assert.ok(cards.filter((card) => card.memory !== null).length >= 10)
  const { architectures } = await constants()
  for (const { id, architecture, memory } of cards) {
    if (!architectures.includes(architecture)) assert.equal(memory, null, `${id}: ${architecture} is not in the table`)
  }
})

test('a plan that is more than 1 % off is told', () => {
  const made = { weights: 1000, rooms: { 512: { kv: 100, work: 10, total: 1110 } } }
  assert.ok(stillTrue({ weights: 1009, rooms: { 512: { kv: 100, work: 20, total: 1119 } } }, made))
  assert.ok(!stillTrue({ weights: 1011, rooms: { 512: { kv: 100, work: 10, total: 1111 } } }, made))
  assert.ok(!stillTrue({ weights: 1000, rooms: {} }, made))
  assert.ok(!stillTrue(null, made))
  assert.ok(!stillTrue(made, null))
})
