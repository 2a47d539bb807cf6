// Light or dark: like the system, until the user chooses.

const key = 'dictwire-theme'
const themes = ['', 'light', 'dark']

export function startTheme(button) {
	const show = (theme) => {
		document.documentElement.dataset.theme = theme
		button.textContent = {light: '☀', dark: '☾'}[theme] ?? '◐'
		button.title = button.ariaLabel = `Colours: ${theme || 'as the system has them'}`
	}
	const known = () => themes.includes(localStorage.getItem(key)) ? localStorage.getItem(key) : ''
	button.addEventListener('click', () => {
		const next = themes[(themes.indexOf(known()) + 1) % themes.length]
		localStorage.setItem(key, next)
		show(next)
	})
	show(known())
}
