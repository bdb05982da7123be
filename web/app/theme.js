/* Applies the chosen theme and text size before the first paint. Classic: modules run too late for that. */
;(() => {
  let settings
  try {
    settings = JSON.parse(localStorage.getItem('nook.settings') ?? '{}')
  } catch {
    settings = {}
  }
  const root = document.documentElement
  if (settings?.theme === 'light' || settings?.theme === 'dark') root.dataset.theme = settings.theme
  const size = Number(settings?.textSize)
  if (size >= 90 && size <= 130) root.style.setProperty('--text-scale', String(size / 100))
})()
