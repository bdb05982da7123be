/*
 * bench-memory.js: the child of `nook bench`: loads a model and answers (or does nothing, with "null"), then prints the
 * peak of its resident memory in bytes.
 */
const options = JSON.parse(process.argv[2] ?? 'null')
if (options !== null) {
  const { load } = await import('../node.js')
  const llm = await load(options)
  await llm.completions.create({
    prompt: 'A small house stood by the river, and in the evening',
    max_tokens: 32,
    temperature: 0,
    ignore_end: true,
  })
  await llm.dispose()
}
process.stdout.write(String(process.resourceUsage().maxRSS * 1024))

export {}
