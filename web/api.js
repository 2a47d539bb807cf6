// Requests to the server that the page comes from.

let asked = null // a promise, while a token is asked for
let logins = 0

// A Problem is what the server says is wrong (RFC 9457).
export class Problem extends Error {
	constructor(status, about, text) {
		super(about?.detail ?? about?.error ?? text ?? `status ${status}`)
		this.status = status
		this.code = about?.code
	}
}

const send = (path, options) => fetch(path, {...options, cache: 'no-store', credentials: 'same-origin', redirect: 'error'})

// request returns an answer, whatever its status. Where the server wants a token, it
// logs in with one, and tries again.
export async function request(path, options) {
	for (;;) {
		const before = logins
		const answer = await send(path, options)
		if (answer.status !== 401) return answer
		const why = await problemOf(answer)
		if (logins === before) await (asked ??= logIn(why)) // else another request has logged in meanwhile
	}
}

// get returns an answer that is well, or throws a Problem.
export async function get(path, options) {
	const answer = await request(path, options)
	if (!answer.ok) throw await problemOf(answer)
	return answer
}

// problemOf returns what an answer says is wrong.
export async function problemOf(answer) {
	const text = await answer.text()
	try {
		return new Problem(answer.status, JSON.parse(text))
	} catch {
		return new Problem(answer.status, null, text)
	}
}

// list returns an answer in JSON. A number that a float can't hold is its digits.
export async function list(path) {
	const text = await (await get(path)).text()
	return JSON.parse(text, (_, v, context) => typeof v === 'number' && !Number.isSafeInteger(v) ? context?.source ?? v : v)
}

// logIn asks for a token, once for all who want one, until the server takes it. The token
// itself is kept nowhere: a cookie that no script can read stands for it.
async function logIn(why) {
	const dialog = document.getElementById('login'), input = document.getElementById('token')
	for (let wrong = why; wrong;) {
		document.getElementById('why').textContent = wrong.message
		const token = await new Promise((resolve) => {
			dialog.onclose = () => {
				resolve(input.value.trim())
				input.value = ''
			}
			dialog.oncancel = (event) => event.preventDefault()
			if (!dialog.open) dialog.showModal()
		})
		wrong = await send('/v1/login', {method: 'POST', headers: {Authorization: `Bearer ${token}`}})
			.then((answer) => answer.ok ? null : problemOf(answer), (err) => err)
	}
	asked = null
	logins++
	dispatchEvent(new Event('login'))
}

export async function logOut() {
	const answer = await send('/v1/logout', {method: 'POST'})
	if (!answer.ok) throw await problemOf(answer)
}

export const topicPath = (topic, query) => `/v1/topics/${encodeURIComponent(topic)}?${new URLSearchParams(query)}`
