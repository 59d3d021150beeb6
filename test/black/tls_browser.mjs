// The built-in page in Chromium over https, and what it may do there: tls_browser.mjs URL TOKEN READER WRITER
//
// HOME has an NSS database that trusts the test's root: nothing is ignored. Opens the page with TOKEN,
// says "open", waits for the line "done" there; then reads server-sent events with READER while it posts
// with WRITER. Prints what it saw as JSON.
import { chromium } from 'playwright-core';

const [url, token, reader, writer] = process.argv.slice(2);
const browser = await chromium.launch({
	executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
	args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
	const page = await browser.newPage(), sockets = [], said = [];
	page.on('websocket', s => sockets.push(s.url()));
	page.on('console', m => said.push(`${m.type()}: ${m.text()}`));
	page.on('pageerror', e => said.push(`pageerror: ${e}`));
	const reply = await page.goto(`${url}#t=${token}`), tls = await reply.securityDetails();
	await page.waitForFunction(() => document.documentElement.dataset.state === 'connected');
	process.stdout.write('open\n');
	await page.waitForFunction(() => document.getElementById('log').innerText.includes('done'));
	const rows = (await page.locator('#log > div').allInnerTexts()).map(l => l.slice(14));
	const got = await page.evaluate(async ([url, reader, writer]) => {
		const source = new EventSource(`${url}?t=${reader}`), events = [], status = [];
		await new Promise(done => source.addEventListener('open', done));
		const all = new Promise(done => source.addEventListener('message',
			e => events.push(e.data) === 3 && done()));
		for (const body of ['1', 'two\nlines', 'x'.repeat(40000)])
			status.push((await fetch(url, { method: 'POST', body,
				headers: { Authorization: `Bearer ${writer}` } })).status);
		await all;
		source.close();
		return { events: events.map(e => e.length > 99 ? e.length : e), status };
	}, [url, reader, writer]);
	console.log(JSON.stringify({ ...got, rows, sockets, said, protocol: tls.protocol, issuer: tls.issuer }));
} finally {
	await browser.close();
}
