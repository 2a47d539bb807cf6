package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dictwire/dictwire"
	"github.com/dictwire/dictwire/store/memory"
)

// The server evaluates what follows jq: in the search box. The page gets the records for
// which it is true, live, and applies the other terms to those. Errors are shown next to
// the box.
func testJQ(t *testing.T, b *browser) {
	addr := startFiltering(t, &dictwire.Server{Store: memory.New(nil)})
	post(t, addr, "people", `{"name":"Zoë","age":30,"tags":["a","b"]}{"name":"Bob","age":41,"city":"Paris"}{"name":"Al","age":50,"city":"Oslo"}{"name":"Ann","age":"41"}{"jq":"x","age":1}`)
	tab := b.open("http://" + addr + "/")
	defer tab.close()
	const find = `
		const found = async (query, n) => {
			type('#find', query, 'input')
			$('#find').dispatchEvent(new Event('change', {bubbles: true}))
			await until(() => $('#count').textContent.replace(/ records?$/, '') === n && ['live', 'all of that time'].includes($('#state').textContent), query + ': ' + n)
			await until(() => rows().length === Number(n.split(' ')[0]))
			return lines().map((l) => /"name": "(.*?)"/.exec(l)?.[1] ?? l)
		}
	`
	tab.expect("found", find+`
		await until(() => rows().length === 5)
		const said = []
		for (const [query, n] of [
			['jq: .age > 30 and .city == "Paris"', '2'],
			['jq:.age > 30 and (.age | type) == "number"', '2'],
			['name:a jq: (.age | type) == "number"', '1 of 4'],
			['jq: .tags[]', '1'], ['jq: .name, .age', '5'], ['jq: select(.age == 50)', '1'], ['jq: .age == 50 # fifty', '1'],
			['jq: def f: .age; f == 30', '1'],
			['"jq":x', '1 of 5'], ['"jq: x"', '0 of 5'],
		]) {
			if (query.includes('Paris')) { said.push(await found(query.replace('> 30', '< 45'), '1')); continue }
			said.push(await found(query, n))
		}
		return said.join('; ') + ' ' + $('#wrong').hidden`,
		"Bob; Bob,Al; Al; Zoë; Zoë,Bob,Al,Ann,people {\"jq\": \"x\", \"age\": 1}; Al; Al; Zoë; people {\"jq\": \"x\", \"age\": 1};  true")
	tab.expect("live", find+`
		await found('jq: .age > 40 and .city', '2')
		for (const body of ['{"name":"No","age":3,"city":"Rome"}', '{"name":"Eve","age":45,"city":"Rome"}']) await fetch('/v1/topics/people', {method: 'POST', body})
		await until(() => lines().length === 3)
		return lines().at(-1)`, `people {"name": "Eve", "age": 45, "city": "Rome"}`)
	again := b.open(tab.on(`return location.href`))
	again.expect("the address", `
		await until(() => lines().length === 3)
		return $('#find').value`, "jq: .age > 40 and .city")
	again.close()
	tab.expect("a term by a click", find+`
		rows()[0].click()
		await until(() => $('.tree .pick'))
		all('.leaf').find((e) => e.textContent.startsWith('"name"')).querySelector('.pick').click()
		await until(() => $('#count').textContent === '1 of 3')
		return $('#find').value`, `name="Bob" jq: .age > 40 and .city`)
	tab.expect("export", find+`
		await found('jq: .age > 40 and .city', '3')
		const kept = []
		const made = URL.createObjectURL
		URL.createObjectURL = (blob) => { kept.push(blob); return made(blob) }
		$('[data-save=csv]').click()
		await until(() => /records kept/.test($('#state').textContent))
		URL.createObjectURL = made
		return await kept[0].text()`, "name,age,city\nBob,41,Paris\nAl,50,Oslo\nEve,45,Rome\n")
	for _, c := range []struct{ expression, wrong string }{
		{".age >", "filter: unexpected EOF, at byte 6"},
		{".age ) .x", `filter: unexpected token ")", at byte 6`},
		{"nope", "filter: function not defined: nope/0"},
		{".age; .name", `filter: unexpected token ";", at byte 5`},
		{strings.Repeat("1,", 2100) + "1", "filter: 4201 bytes, want at most 4096"},
		{"def f: f; f", "the record at X: the filter takes longer than 2s; from=X goes on after it"},
	} {
		tab.expect(c.expression, fmt.Sprintf(`
			type('#find', 'jq: ' + %q, 'input')
			await until(() => $('#find').ariaInvalid === 'true' && new URLSearchParams(location.hash.slice(1)).get('find').endsWith(%[1]q) && !$('#wrong').hidden)
			const said = $('#wrong').textContent.replace(/\w+\.\d+\.\d+/g, 'X') + ' ' + rows().length + ' ' + $('#wrong').className
			type('#find', '', 'input')
			await until(() => $('#wrong').hidden && $('#find').ariaInvalid === 'false')
			return said`, c.expression), c.wrong+" 0 bad")
	}
	tab.expect("fails for some", `
		type('#find', 'jq: .age + 1 > 31', 'input')
		await until(() => !$('#wrong').hidden && rows().length === 3)
		return $('#wrong').textContent + '; ' + $('#wrong').className + $('#find').ariaInvalid`,
		`jq fails for 1 record: cannot add: string ("41") and number (1); false`)
	tab.expect("the help", `
		document.activeElement.blur()
		$('#keys').click()
		return String($('#help').textContent.includes('jq: .age > 30 and .city == "Paris"'))`, "true")
	tab.on(`$('#help').close(); type('#find', '', 'input'); await until(() => rows().length === 7)`)
	noWorkers(t)

	none := b.open("http://" + start(t, &dictwire.Server{Store: memory.New(nil)}) + "/#find=jq: .a")
	defer none.close()
	none.expect("a server that runs none", `
		await until(() => !$('#wrong').hidden)
		return $('#wrong').textContent`, "filter: this server runs no filters; filter what you read, with jq after curl, or with dictwire tail")
}
