/**
 * strings.js: every word that the page shows, and the only place where words are. Functions take what is filled in; plurals
 * go through Intl.PluralRules, numbers through Intl.NumberFormat. A translation is this file again;
 * tests/page/strings.test.js
 * replaces it by marked strings and looks for text that came from elsewhere.
 */

export const locale = 'en'

const rules = new Intl.PluralRules(locale)
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 })
const tenth = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 })
const dayFormat = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: 'numeric' })
const timeFormat = new Intl.DateTimeFormat(locale, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' })

/** @param {number} n @param {string} one @param {string} other */
const plural = (n, one, other) => `${whole.format(n)} ${rules.select(n) === 'one' ? one : other}`

/** @param {number} n */
const requests = (n) => plural(n, 'network request', 'network requests')

/** @param {number} value */
export const number = (value) => whole.format(value)

/** Bytes in decimal megabytes, as the browsers and hubs count them. @param {number} bytes */
export function size(bytes) {
  if (bytes >= 999.5e6) return `${tenth.format(bytes / 1e9)} GB`
  if (bytes >= 1e6) return `${whole.format(bytes / 1e6)} MB`
  if (bytes >= 1e3) return `${whole.format(bytes / 1e3)} kB`
  return plural(bytes, 'byte', 'bytes')
}

/** Memory of machines, as they are sold. @param {number} bytes */
const memory = (bytes) => {
  const gibibytes = bytes / 1024 ** 3
  return `${Number.isInteger(gibibytes) ? whole.format(gibibytes) : tenth.format(gibibytes)} GB`
}

/** A share as a percentage; below 10 % with a decimal, so that it moves. @param {number} share */
export function percent(share) {
  const value = Math.max(0, Math.min(100, share * 100))
  return `${value < 10 && value > 0 ? tenth.format(value) : whole.format(Math.floor(value))} %`
}

/** A remaining time, rounded so that it does not flicker: 5 s, then 15 s, then minutes. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(1, Math.ceil(seconds))} s`
  if (seconds < 60) return `${Math.ceil(seconds / 5) * 5} s`
  if (seconds < 120) return `${Math.ceil(seconds / 15) * 15} s`
  if (seconds < 5400) return `${whole.format(Math.ceil(seconds / 60))} min`
  return `${tenth.format(seconds / 3600)} h`
}

/** @param {number} milliseconds */
const exact = (milliseconds) =>
  milliseconds < 1000 ? `${whole.format(milliseconds)} ms` : `${tenth.format(milliseconds / 1000)} s`

/** @param {number} rate */
const speed = (rate) => `${rate < 100 ? tenth.format(rate) : whole.format(rate)} tokens/s`

/** When something happened, in words. @param {number} time */
export function when(time) {
  const days = Math.floor((startOfDay(Date.now()) - startOfDay(time)) / 86_400_000 + 0.5)
  if (days < 1) return relative.format(0, 'day')
  if (days < 7) return relative.format(-days, 'day')
  return dayFormat.format(time)
}

/** @param {number} time */
const startOfDay = (time) => new Date(time).setHours(0, 0, 0, 0)

export const t = {
  name: 'Nook',
  tabTitle: (/** @type {string} */ title) => (title ? `${title} · Nook` : 'Nook'),
  tabProgress: (/** @type {number} */ share) => `(${Math.floor(share * 100)} %) Nook`,
  close: 'Close',
  cancel: 'Cancel',
  undo: 'Undo',
  back: 'Back',
  delete: 'Delete',
  tryAgain: 'Try again',
  details: 'Details',

  shell: {
    skip: 'Skip to the message box',
    rooms: 'Rooms',
    header: 'Nook and its model',
    work: 'Work',
    jobs: 'What is running',
    notices: 'Notices',
    toasts: 'Undo',
    dropHere: 'Drop the model file here',
    dropHint: 'A .gguf file, or all parts of a split one. It is read here and sent nowhere.',
    offline: 'You are offline. Everything you have here works.',
    update: 'A new version starts when you reload.',
    reload: 'Reload',
    noStore: 'This browser keeps nothing for this page (a private window, perhaps). Conversations last until you close it.',
    roomFailed: 'This room could not be opened. What you made is kept. Reload the page.',
    jobShare: (/** @type {number} */ share) => percent(share),
    jobLeft: (/** @type {number} */ seconds) => `${duration(seconds)} left`,
    jobMore: (/** @type {number} */ n) => `+${whole.format(n)}`,
    jobSpoken: (/** @type {string} */ label, /** @type {number} */ share) => `${label}: ${whole.format(share * 100)} %`,
    pause: 'Pause',
    resume: 'Go on',
    stop: 'Stop',
  },

  rooms: { chat: 'Chat', settings: 'Settings' },

  pill: {
    text: (/** @type {number} */ n) => `On this machine · ${plural(n, 'request', 'requests')}`,
    short: (/** @type {number} */ n) => whole.format(n),
    name: (/** @type {number} */ n) => `On this machine, ${plural(n, 'request', 'requests')}. What that means`,
    title: 'Nothing leaves this machine',
    before: (/** @type {number} */ n) =>
      `What you type, drop and teach stays in this browser. Since it was opened this page has made ${requests(n)}; ` +
      'when you open it, the browser may look for a new version of it.',
    after: (/** @type {number} */ n) =>
      `What you type, drop and teach stays in this browser. Since the model arrived this page has made ${requests(n)}; ` +
      'when you open it, the browser may look for a new version of it.',
    check: 'Check: switch off your network, and go on.',
    kept: (/** @type {string} */ address) => `Kept at ${address}. Other pages of the same address could read it.`,
    list: (/** @type {number} */ n) => `All ${plural(n, 'request', 'requests')} since the page was opened`,
    none: 'None since the page was opened.',
    row: (/** @type {number} */ time) => timeFormat.format(time),
    arrived: 'The model arrived',
    byWorker: 'Counted by this page and, for its workers, by its service worker.',
    notWatched: 'The service worker is not running, so requests of the engine’s own worker cannot be counted here.',
  },

  model: {
    none: 'No model',
    elsewhere: 'In another tab',
    chip: (/** @type {string} */ name, /** @type {number} */ bytes) => (bytes ? `${name} · ${size(bytes)}` : name),
    chipName: (/** @type {string} */ what) => `Model: ${what}`,
    heading: 'Model',
    file: 'File',
    architecture: 'Architecture',
    parameters: 'Parameters',
    parametersValue: (/** @type {number} */ n) =>
      n >= 1e9 ? `${tenth.format(n / 1e9)} billion` : n >= 1e6 ? `${whole.format(n / 1e6)} million` : whole.format(n),
    types: 'Weights as',
    room: 'Conversation room',
    roomValue: (/** @type {number} */ n, /** @type {number} */ trained) =>
      `${whole.format(n)} tokens${trained ? ` (it was trained with ${whole.format(trained)})` : ''}`,
    memory: 'Memory',
    weights: 'weights',
    kv: 'conversation',
    work: 'work space',
    memoryValue: (/** @type {string} */ what, /** @type {number} */ bytes) => `${size(bytes)} ${what}`,
    build: 'Build',
    buildValue: (/** @type {string} */ isa, /** @type {number} */ threads) =>
      `${isa}, ${plural(threads, 'thread', 'threads')}`,
    why: 'Why this build',
    licence: 'Licence',
    other: 'Open another model file',
    leave: 'Close this model',
    downloading: (/** @type {string} */ name) => `Getting ${name}`,
    loading: (/** @type {string} */ name) => `Loading ${name}`,
    paused: (/** @type {string} */ name) => `${name}, paused`,
  },

  first: {
    title: 'A small language model that lives in this tab.',
    about:
      'It answers on this machine alone: nothing you type leaves the browser. It is small: good with your words, weak on ' +
      'facts about the world.',
    get: (/** @type {number} */ bytes) => `Get the model (${size(bytes)})`,
    have: 'I have a model file',
    look: 'Look around first',
    before: (/** @type {number} */ bytes, /** @type {number} */ seconds) =>
      `${size(bytes)}, about ${duration(seconds)} on this connection, kept in this browser. ` +
      'Next time it starts in seconds.',
    beforeUnknown: (/** @type {number} */ bytes) => `${size(bytes)}, kept in this browser. Next time it starts in seconds.`,
    beforeHere: (/** @type {number} */ bytes) =>
      `${size(bytes)}, from this computer: a few seconds. It is kept in this browser.`,
    beforeHost: (/** @type {string} */ host) => `From ${host}. The only thing this page fetches.`,
    modelLine: (/** @type {string} */ name, /** @type {string} */ licence) =>
      licence ? `${name}, ${licence}.` : `${name}.`,
    file: 'A model file is a .gguf: pick it, or drop it anywhere on this page. All parts at once if it is split.',
    offlineNone: 'You are offline and no model is kept here yet. Connect once, or drop a .gguf file.',
    noCards: 'No model is offered at this address. A .gguf file of your own works.',
    others: 'Other models',
  },

  picker: {
    title: 'Models',
    open: 'All models',
    looking: 'Looking at what is here',
    room: (/** @type {number} */ n) => `For a conversation room of ${whole.format(n)} tokens.`,
    tab: (/** @type {number} */ bytes) => `A tab gets up to ${size(bytes)} of memory here.`,
    device: (/** @type {number} */ bytes, /** @type {boolean} */ least) =>
      `This machine has ${least ? 'at least' : 'about'} ${memory(bytes)}.`,
    free: (/** @type {number} */ bytes) => `The browser grants ${size(bytes)} more for keeping.`,
    places: {
      here: 'Kept in this browser',
      computer: 'On this computer',
      server: 'At this address',
      web: 'On the internet',
      own: 'As a file that you bring',
    },
    offline: 'You are offline: these wait until you are connected.',
    own:
      'Get the file, or the checkpoint, from its publisher. A .gguf is picked here or dropped on this page; a checkpoint ' +
      'is made into one by “nook convert” in a terminal.',
    publisher: (/** @type {string} */ name, /** @type {string} */ file) => `Published as ${name}; the file is ${file}.`,
    convert: (/** @type {string} */ name, /** @type {string} */ file) =>
      `Checkpoint published as ${name}; “nook convert” makes ${file} of it.`,
    host: (/** @type {string} */ host) => `From ${host}, and only when you ask.`,
    file: (/** @type {number} */ bytes) => size(bytes),
    about: (/** @type {number} */ bytes) => `about ${size(bytes)}`,
    text: 'It goes on with a text; it was not taught to answer.',
    inUse: 'in use',
    use: 'Use it',
    get: (/** @type {number} */ bytes) => `Get it (${size(bytes)})`,
    shorter: (/** @type {number} */ n) => `With ${whole.format(n)} tokens`,
    named: (/** @type {string} */ action, /** @type {string} */ name) => `${action}: ${name}`,
  },

  fit: {
    yes: (/** @type {number} */ need) => `Fits: it needs ${size(need)} of memory.`,
    tight: (/** @type {number} */ need, /** @type {number} */ have) =>
      `Tight: it needs ${size(need)} of memory, a large part of this machine's ${memory(have)}. Close other things first.`,
    tab: (/** @type {number} */ need, /** @type {number} */ have) =>
      `Too large: it needs ${size(need)} of memory, and a tab gets up to ${size(have)} here.`,
    device: (/** @type {number} */ need, /** @type {number} */ have) =>
      `Too large: it needs ${size(need)} of memory, and this machine has about ${memory(have)}.`,
    smaller: (/** @type {number} */ n, /** @type {number} */ need) =>
      `With a conversation room of ${whole.format(n)} tokens it needs ${size(need)}.`,
    storage: (/** @type {number} */ need, /** @type {number} */ have) =>
      `Fits (${size(need)} of memory), but the browser grants only ${size(have)} more: it would be fetched each time.`,
    unknown: 'This version does not run it yet.',
  },

  load: {
    downloading: (/** @type {string} */ name) => `Getting ${name}`,
    downloadWith: (/** @type {number} */ loaded, /** @type {number} */ total, /** @type {number | null} */ seconds) =>
      `${total < 999.5e6 ? whole.format(loaded / 1e6) : tenth.format(loaded / 1e9)} of ${size(total)}` +
      (seconds === null ? '' : ` · ${duration(seconds)} left`),
    rate: (/** @type {number} */ bytes) => `${tenth.format(bytes / 1e6)} MB/s`,
    already: 'You can already write. It is sent when the model is ready.',
    paused: (/** @type {number} */ loaded) => `Paused at ${size(loaded)}.`,
    broken: (/** @type {number} */ loaded) => `The connection broke at ${size(loaded)}. It goes on from there.`,
    checked: 'Here, and checked: this is the published file.',
    loadingKept: (/** @type {number | null} */ seconds) =>
      seconds === null ? 'Loading from this browser' : `Loading from this browser · ${duration(seconds)} left`,
    loadingFile: (/** @type {number | null} */ seconds) =>
      seconds === null ? 'Reading your file' : `Reading your file · ${duration(seconds)} left`,
    ready: (/** @type {string} */ name) => `${name} is ready.`,
    slower: 'Slower than expected: the tab is in the background.',
    crashed: (/** @type {string} */ name) => `The tab closed while loading ${name}. It was not started again by itself.`,
    notLoaded: (/** @type {string} */ name) => `${name} is not loaded.`,
    chooseAgain: (/** @type {string} */ name) =>
      `The browser lets go of your files when the page closes. Pick ${name} again to go on.`,
    loadIt: 'Load it',
    pick: 'Pick the file',
  },

  tabs: {
    elsewhere: 'Nook is open in another tab and the model is there.',
    here: 'Go on here',
    stay: 'Stay there',
    moved: 'Moved to another tab.',
    bring: 'Bring it back',
    reading: 'You can read here; answers come in the other tab.',
  },

  list: {
    label: 'Conversations',
    search: 'Search conversations',
    placeholder: 'Search',
    new: 'New',
    newName: 'New conversation',
    open: 'Conversations',
    none: 'No conversations yet. The first one appears here when you send something.',
    noHit: (/** @type {string} */ query) => `Nothing found for “${query}”.`,
    hits: (/** @type {number} */ n) => plural(n, 'conversation', 'conversations'),
    delete: (/** @type {string} */ title) => `Delete “${title}”`,
    deleted: 'Conversation deleted.',
    today: 'Today',
    week: 'Last seven days',
    older: 'Older',
    untitled: 'New conversation',
    more: (/** @type {number} */ n) => `Show ${whole.format(n)} more`,
  },

  chat: {
    log: 'Conversation',
    empty: 'What shall we write?',
    emptyAbout: 'Good with words you give it. Weak on facts about the world.',
    starters: 'To begin with',
    starter: [
      {
        label: 'Make a sentence friendlier',
        text: 'Rewrite this sentence so that it sounds friendlier: "Send me the report today."',
      },
      {
        label: 'Find a title',
        text: 'Give me three short titles for a story about a lighthouse keeper who learns to bake bread.',
      },
      { label: 'Explain something simply', text: 'Explain to a ten-year-old why the sky is blue, in three sentences.' },
    ],
    you: 'You',
    answer: (/** @type {string} */ model) => model || 'Answer',
    message: (/** @type {string} */ who, /** @type {number} */ n, /** @type {number} */ of) =>
      `${who}, message ${whole.format(n)} of ${whole.format(of)}`,
    placeholder: 'Write a message',
    box: 'Message',
    send: 'Send',
    stop: 'Stop',
    waits: 'Sent when the model is ready.',
    waiting: (/** @type {number | null} */ seconds) =>
      seconds === null ? 'Waiting for the model' : `Waiting for the model · ${duration(seconds)} left`,
    needsModel: 'No model is loaded. Your message is kept; it is answered when one is.',
    preparing: 'Reading your message',
    readingNow: (/** @type {number} */ share, /** @type {number | null} */ seconds) =>
      `Reading your message · ${percent(share)}${seconds === null ? '' : ` · ${duration(seconds)} left`}`,
    readingName: 'Reading your message',
    toLatest: 'To the latest',
    copy: 'Copy',
    copied: 'Copied',
    again: 'Again',
    edit: 'Edit',
    editName: 'Edit the message',
    editSave: 'Send again',
    more: 'More',
    branch: 'New conversation from here',
    plain: 'Read plain',
    formatted: 'Read formatted',
    deleteMessage: 'Delete from here on',
    messageDeleted: 'Messages deleted.',
    actions: 'For this message',
    version: (/** @type {number} */ i, /** @type {number} */ n) => `${whole.format(i)}/${whole.format(n)}`,
    versionName: (/** @type {number} */ i, /** @type {number} */ n) => `Version ${whole.format(i)} of ${whole.format(n)}`,
    older: 'Version before',
    newer: 'Next version',
    stopped: 'Stopped here.',
    length: 'Ended at the longest answer allowed.',
    full: 'Ended because the conversation room is full.',
    interrupted: 'The tab closed while this was written.',
    silent: 'The model ended without a word.',
    cut: 'The beginning no longer fits. The model sees from here on.',
    meter: (/** @type {number} */ used, /** @type {number} */ of) => `${whole.format(used)} of ${whole.format(of)} tokens`,
    meterName: 'Conversation room used',
    answering: 'Answering',
    codeCopy: 'Copy code',
    imageOf: (/** @type {string} */ alt) => `[picture: ${alt}]`,
    branchOf: (/** @type {string} */ title) => `${title} (from here)`,
  },

  detail: {
    reading: 'Reading',
    generation: 'Writing',
    tokens: (/** @type {number} */ n, /** @type {number} */ ms) =>
      `${plural(n, 'token', 'tokens')} in ${exact(ms)}${ms > 0 && n > 0 ? ` · ${speed((n / ms) * 1000)}` : ''}`,
    known: (/** @type {number} */ cached, /** @type {number} */ all) =>
      `${whole.format(cached)} of ${whole.format(all)} tokens were still known.`,
    model: 'Model',
    seed: 'Seed',
    ended: 'Ended',
    reasons: /** @type {Record<string, string>} */ ({
      stop: 'by itself',
      length: 'at the longest answer allowed',
      context_full: 'conversation room full',
      abort: 'stopped by you',
    }),
    when: 'When',
    whenValue: (/** @type {number} */ time) => `${dayFormat.format(time)}, ${timeFormat.format(time)}`,
  },

  /** What happened · what it means for her data · (the action is a button). By the code of the engine's error. */
  errors: /** @type {Record<string, {title: string, means: string}>} */ ({
    abort: { title: 'Stopped.', means: 'Nothing is lost.' },
    busy: { title: 'The model is busy with something else.', means: 'Your message is kept.' },
    download: { title: 'The model file could not be fetched.', means: 'What has arrived is kept.' },
    hash: {
      title: 'The file that arrived is not the published one.',
      means: 'It was not used. Your conversations are untouched.',
    },
    quota: {
      title: 'The browser grants no more room.',
      means: 'Your conversations are kept. Delete something, or go on without keeping the model.',
    },
    memory: { title: 'The model needs more memory than this tab got.', means: 'Your conversation is kept.' },
    format: {
      title: 'This file cannot be read as a model.',
      means: 'Nothing was changed. A model file is a .gguf, whole or with all its parts.',
    },
    unsupported: { title: 'This model uses something that this version cannot run.', means: 'Nothing was changed.' },
    template: { title: 'The model’s conversation form cannot be used.', means: 'Your message is kept.' },
    grammar: { title: 'The form asked of the answer cannot be used.', means: 'Your message is kept.' },
    context_full: {
      title: 'This message is longer than the conversation room.',
      means: 'It is kept. Shorten it, or give the model more room in Settings.',
    },
    adapter_mismatch: { title: 'This skill belongs to another model.', means: 'It was not used.' },
    data: { title: 'The data cannot be used.', means: 'Nothing was changed.' },
    internal: { title: 'The engine stopped.', means: 'Your conversation is kept.' },
  }),
  error: {
    code: (/** @type {string} */ code) => `Code: ${code}`,
    shorterRoom: (/** @type {number} */ tokens) => `Use less room: ${whole.format(tokens)} tokens`,
    toStorage: 'Open Storage',
    noSource: (/** @type {string} */ file) => `${file} is not to be had at this address, and its card names no other one.`,
    toRoom: 'Set the room',
    pickOther: 'Pick another file',
    noEngine: 'The engine’s files are missing at this address.',
    noEngineMeans: 'Your conversations are kept. Whoever runs this page has to build it.',
  },

  find: {
    title: 'Find',
    label: 'Find conversations and commands',
    placeholder: 'Conversations and commands',
    conversations: 'Conversations',
    commands: 'Commands',
    nothing: 'Nothing found.',
    command: {
      new: 'New conversation',
      models: 'All models',
      settings: 'Open settings',
      keys: 'List of keys',
      export: 'Export conversations',
      file: 'Open a model file',
      light: 'Light theme',
      dark: 'Dark theme',
      system: 'Theme of the system',
    },
  },

  keys: {
    title: 'Keys',
    about: 'Every key here has a button too. Nothing acts while you compose with an input method.',
    single: 'Single keys act (/ ? g j k and the letters on an answer)',
    groups: { write: 'Writing', go: 'Going around', answer: 'On a message' },
    does: {
      send: 'Send',
      newline: 'New line',
      newlineTouch: 'New line (on touch screens)',
      sendAlways: 'Send, everywhere',
      editLast: 'Edit your last message, in an empty box',
      stop: 'Stop the answer; else close what is open; else to the message box',
      compose: 'To the message box',
      find: 'Find conversations and commands',
      help: 'This list',
      new: 'New conversation',
      chat: 'To Chat',
      settings: 'To Settings',
      next: 'Next message',
      previous: 'Message before',
      copy: 'Copy it',
      again: 'Answer again',
      versions: 'Other versions',
      delete: 'Delete a conversation in the list, with undo',
    },
    names: {
      enter: 'Enter',
      shift: 'Shift',
      mod: 'Ctrl',
      modMac: '⌘',
      esc: 'Esc',
      up: '↑',
      left: '←',
      right: '→',
      delete: 'Delete',
      then: 'then',
      or: 'or',
    },
  },

  settings: {
    title: 'Settings',
    sections: {
      storage: 'Storage',
      privacy: 'Privacy',
      keys: 'Keys',
      appearance: 'Appearance',
      details: 'Details',
      data: 'Export, import, erase',
    },
    storage: {
      about: 'What this browser keeps for this page.',
      total: (/** @type {number} */ used, /** @type {number} */ quota) =>
        `${size(used)} used. The browser grants up to ${size(quota)}.`,
      totalUnknown: 'The browser does not say how much room there is.',
      page: 'The page itself, for offline use',
      pageFiles: (/** @type {number} */ n) => plural(n, 'file', 'files'),
      row: 'What',
      bytes: 'Size',
      used: 'Last use',
      noModels: 'No model is kept.',
      inUse: 'in use',
      part: 'not complete',
      never: 'unknown',
      deleteModel: (/** @type {string} */ name) => `Delete ${name}`,
      deleteAsk: (/** @type {string} */ name, /** @type {number} */ bytes) =>
        `Delete ${name} (${size(bytes)})? To use it again it has to be fetched again.`,
      deleteYes: 'Delete it',
      deleteInUse: 'It is in use now and will be closed first.',
      conversationsValue: (/** @type {number} */ n) => plural(n, 'conversation', 'conversations'),
      keptFor: 'This browser keeps it until you delete it.',
      mayDelete: 'This browser may delete what is kept here when space runs low.',
      ask: 'Ask it to keep',
      refused: 'The browser did not agree. Export now and then.',
      recent: 'Recently deleted',
      recentAbout: 'Kept for a day.',
      recentNone: 'Nothing was deleted in the last day.',
      restore: 'Put back',
      restoreName: (/** @type {string} */ title) => `Put back “${title}”`,
      forget: 'Delete for good',
      forgetName: (/** @type {string} */ title) => `Delete “${title}” for good`,
    },
    privacy: {
      needs: 'Needs the network',
      needsList: [
        'Opening this page for the first time, and looking for a new version of it',
        'Getting a model that is not kept here yet',
      ],
      neverNeeds: 'Never needs it',
      neverList: [
        'Loading a model that is kept here, or your own file',
        'Reading and answering what you write',
        'Searching, exporting and importing conversations',
      ],
      neverSent: 'No usage data, no error reports, no accounts.',
    },
    appearance: {
      theme: 'Theme',
      system: 'As the system',
      light: 'Light',
      dark: 'Dark',
      text: 'Text size',
      textValue: (/** @type {number} */ percentValue) => `${whole.format(percentValue)} %`,
    },
    details: {
      show: 'Show the details under every answer',
      showAbout: 'Tokens, speeds, seed. Otherwise they are one click away.',
      room: 'Conversation room',
      roomAbout: 'How much the model sees at once. More room needs more memory. It counts from the next load.',
      roomOption: (/** @type {number} */ n) => `${whole.format(n)} tokens`,
      variety: 'Variety',
      varietyAbout: 'Low keeps to the likeliest words. High wanders.',
      low: 'Low',
      middle: 'Middle',
      high: 'High',
      temperature: (/** @type {number} */ value) => `temperature ${tenth.format(value)}`,
      spoken: 'Screen readers hear',
      spokenWhole: 'the answer when it is finished',
      spokenSentence: 'each sentence as it is finished',
      engine: 'Engine',
      engineNone: 'No model is loaded.',
      reloadModel: 'Load again with this room',
    },
    data: {
      export: 'Export conversations',
      exportAbout: 'One file with everything you and the model wrote. It is saved by your browser.',
      exportName: (/** @type {string} */ day) => `nook-conversations-${day}.json`,
      exported: (/** @type {number} */ n) => `${plural(n, 'conversation', 'conversations')} exported.`,
      import: 'Import conversations',
      importAbout: 'From a file that was exported here. Nothing is replaced.',
      imported: (/** @type {number} */ n) => `${plural(n, 'conversation', 'conversations')} imported.`,
      importBad: (/** @type {string} */ name) => `${name} is not an export of conversations. Nothing was changed.`,
      importLarge: (/** @type {string} */ name, /** @type {number} */ limit) =>
        `${name} is larger than ${size(limit)}. Nothing was changed.`,
      importSome: (/** @type {number} */ n, /** @type {number} */ bad) =>
        `${plural(n, 'conversation', 'conversations')} imported; ${plural(bad, 'was', 'were')} not readable and left out.`,
      erase: 'Erase everything',
      eraseAbout: 'Removes all that this page keeps in this browser.',
      eraseTitle: 'Erase everything',
      eraseList: (/** @type {number} */ conversations, /** @type {number} */ models, /** @type {number} */ bytes) =>
        `This removes ${plural(conversations, 'conversation', 'conversations')} and ${plural(models, 'model', 'models')} ` +
        `(${size(bytes)}) from this browser. There is no other copy.`,
      eraseType: 'Type “erase” to go on',
      eraseWord: 'erase',
      exportFirst: 'Export first',
      eraseYes: 'Erase everything',
    },
  },
}
