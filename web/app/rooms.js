/**
 * rooms.js: the rooms of the page. A room is one row here, one file, and its words in strings.js. The rail, the routes and
 * the keys "g" then a letter follow from the rows; what is not in this table is not shown.
 *
 * A room's file exports `mount(place, context)` and returns {route(rest), leave(), focus()}: `place` is its element,
 * `rest` the parts of the address after the room's name.
 * @typedef {{title: (text: string) => void, list: (open: boolean) => void}} Context
 * @typedef {{route: (rest: string[], query: URLSearchParams) => void, leave?: () => void, focus: () => void, list?:
 * boolean,
 *   drop?: (files: File[]) => void}} Room
 * @typedef {{id: 'chat' | 'settings', icon: string, foot?: boolean,
 *   open: () => Promise<{mount: (place: HTMLElement, context: Context) => Room}>}} Row
 */

/** @type {Row[]} */
export const rooms = [
  { id: 'chat', icon: 'chat', open: () => import('./rooms/chat.js') },
  { id: 'settings', icon: 'settings', foot: true, open: () => import('./rooms/settings.js') },
]
