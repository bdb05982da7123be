/*
 * schema.mjs: checks JSON against a JSON schema, as far as models/schema.json needs it: type, enum, const, pattern, length,
 * range, required, properties, additionalProperties, items, minItems, oneOf and $ref to #/$defs. A keyword that it does not
 * know is an error of the schema, so that nothing is silently not checked.
 */

/** Keywords that say something to people only. */
const PROSE = new Set(['$schema', '$defs', 'title', 'description'])

/** @param {unknown} value */
const kindOf = (value) =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value

/**
 * @typedef {{root: any, schema: any, value: any, at: string}} Place
 * @type {Record<string, (place: Place, rule: any) => string[]>}
 */
const RULES = {
  $ref(place, rule) {
    const target = String(rule).replace(/^#\/\$defs\//, '')
    const schema = place.root.$defs?.[target]
    if (schema === undefined) throw new Error(`The schema has no $defs/${target}.`)
    return visit({ ...place, schema })
  },
  type({ value, at }, rule) {
    const kind = kindOf(value)
    const allowed = [rule].flat()
    return allowed.includes(kind) || (kind === 'integer' && allowed.includes('number'))
      ? []
      : [`${at} is of type ${kind}, not ${allowed.join(' or ')}`]
  },
  enum: ({ value, at }, rule) =>
    rule.includes(value) ? [] : [`${at} is ${JSON.stringify(value)}, not one of ${rule.join(', ')}`],
  const: ({ value, at }, rule) => (value === rule ? [] : [`${at} is not ${JSON.stringify(rule)}`]),
  pattern: ({ value, at }, rule) =>
    typeof value !== 'string' || new RegExp(rule, 'u').test(value) ? [] : [`${at} does not match ${rule}`],
  minLength: ({ value, at }, rule) => (typeof value !== 'string' || value.length >= rule ? [] : [`${at} is too short`]),
  minimum: ({ value, at }, rule) => (typeof value !== 'number' || value >= rule ? [] : [`${at} is below ${rule}`]),
  maximum: ({ value, at }, rule) => (typeof value !== 'number' || value <= rule ? [] : [`${at} is above ${rule}`]),
  exclusiveMinimum: ({ value, at }, rule) =>
    typeof value !== 'number' || value > rule ? [] : [`${at} is not above ${rule}`],
  minItems: ({ value, at }, rule) => (!Array.isArray(value) || value.length >= rule ? [] : [`${at} has too few entries`]),
  items: ({ root, value, at }, rule) =>
    Array.isArray(value) ? value.flatMap((one, i) => visit({ root, schema: rule, value: one, at: `${at}[${i}]` })) : [],
  required: ({ value, at }, rule) =>
    kindOf(value) === 'object'
      ? rule.filter((/** @type {string} */ key) => !(key in value)).map((/** @type {string} */ key) => `${at} lacks ${key}`)
      : [],
  properties({ root, value, at }, rule) {
    if (kindOf(value) !== 'object') return []
    return Object.entries(rule).flatMap(([key, schema]) =>
      key in value ? visit({ root, schema, value: value[key], at: `${at}.${key}` }) : [],
    )
  },
  additionalProperties({ root, schema, value, at }, rule) {
    if (kindOf(value) !== 'object') return []
    const more = Object.keys(value).filter((key) => !(key in (schema.properties ?? {})))
    if (rule === false) return more.map((key) => `${at} has the unknown key ${key}`)
    return more.flatMap((key) => visit({ root, schema: rule, value: value[key], at: `${at}.${key}` }))
  },
  oneOf({ root, value, at }, rule) {
    const tries = rule.map((/** @type {any} */ schema) => visit({ root, schema, value, at }))
    const fitting = tries.filter((/** @type {string[]} */ faults) => faults.length === 0).length
    if (fitting === 1) return []
    if (fitting > 1) return [`${at} fits ${fitting} of the forms that exclude each other`]
    /* The form that comes nearest tells best what is wrong. */
    return tries.sort((/** @type {string[]} */ a, /** @type {string[]} */ b) => a.length - b.length)[0] ?? []
  },
}

/** @param {Place} place @returns {string[]} */
function visit(place) {
  return Object.entries(place.schema).flatMap(([keyword, rule]) => {
    if (PROSE.has(keyword)) return []
    const check = RULES[keyword]
    if (check === undefined) throw new Error(`The schema uses ${keyword}, which tools/cards/schema.mjs does not check.`)
    return check(place, rule)
  })
}

/**
 * What is wrong with a value, in words; nothing when it fits.
 * @param {any} schema @param {unknown} value @param {string} name of the value
 * @returns {string[]}
 */
export const faultsOf = (schema, value, name) => visit({ root: schema, schema, value, at: name })
