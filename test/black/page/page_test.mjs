// The built-in page in a real browser, against the real server.
//
//     SLUICE=./sluice node test/black/page/page_test.mjs
//
// SHOTS names a directory for screenshots, CHROMIUM another browser. Nothing here
// waits for time to pass: where the page would, its clock is ours.

import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once, EventEmitter } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const SLUICE = path.resolve(process.env.SLUICE || 'sluice');
const DIR = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-page-'));
const SHOTS = process.env.SHOTS || path.join(DIR, 'shots');
const SECRET = path.join(DIR, 'secret');
const HOUR = 3600e3;

let browser;

before(async () => {
	fs.writeFileSync(SECRET, 'an example secret of enough bytes, 0123456789\n', { mode: 0o600 });
	fs.mkdirSync(SHOTS, { recursive: true });
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
		args: ['--no-sandbox', '--headless', '--disable-gpu', '--disable-quic', '--no-first-run',
			'--disable-background-networking', '--disable-component-update', '--disable-sync'],
	});
});

after(async () => {
	await browser?.close();
	fs.rmSync(DIR, { recursive: true });
});

const token = (ttl = 60) => execFileSync(SLUICE,
	['token', '--secret-file', SECRET, '--ttl', String(ttl)], { encoding: 'utf8' }).trim();

async function serve(t, args = ['--secret-file', SECRET], port = 0) {
	const child = spawn(SLUICE, ['--page', '--listen', `127.0.0.1:${port}`, ...args],
		{ stdio: ['pipe', 'ignore', 'pipe'] });
	const lines = [], seen = new EventEmitter();
	readline.createInterface({ input: child.stderr })
		.on('line', line => { lines.push(line); seen.emit('line'); })
		.on('close', () => seen.emit('line', 'end'));
	child.stdin.on('error', () => {});
	const gone = once(child, 'exit');
	const server = {
		lines,
		write: text => child.stdin.write(text),
		stop: async () => { child.kill('SIGTERM'); return (await gone)[0]; },
		log: async pattern => {
			for (;;) {
				const hit = lines.map(l => pattern.exec(l)).find(Boolean);
				if (hit)
					return hit;
				const [end] = await once(seen, 'line');
				assert.ok(!end, `no line like ${pattern} in:\n${lines.join('\n')}`);
			}
		},
	};
	t.after(() => { if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL'); });
	server.port = +(await server.log(/event=listening addr=127\.0\.0\.1:(\d+)/))[1];
	return server;
}

/* A page of its own; what it asked for, said and broke is judged at the end. */
async function open(t, port, hash = '', { refusals = false, clock, route, ...context } = {}) {
	const ctx = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...context });
	const page = await ctx.newPage();
	const said = [], asked = [];
	page.sockets = [];
	page.on('console', m => said.push(`${m.type()}: ${m.text()}`));
	page.on('pageerror', e => said.push(`pageerror: ${e}`));
	page.on('request', r => asked.push(r.url().split('#')[0]));
	page.on('websocket', s => page.sockets.push(s.url()));
	if (clock)
		await page.clock.install({ time: clock });
	if (route)
		await page.routeWebSocket(/./, route);
	t.after(async () => {
		await ctx.close();
		/* A browser reports a refused handshake or a dead server itself. */
		const own = refusals ? said.filter(l => !/WebSocket connection to|Failed to load resource/.test(l)) : said;
		assert.deepEqual(own, [], 'nothing on the console');
		for (const url of asked)
			assert.equal(url, `http://127.0.0.1:${port}/`, 'no request elsewhere');
		for (const url of page.sockets)
			assert.equal(url, `ws://127.0.0.1:${port}/`, 'no token in an address');
	});
	await page.goto(`http://127.0.0.1:${port}/${hash}`);
	return page;
}

const state = (page, name) => page.waitForFunction(
	n => document.documentElement.dataset.state === n, name);
const shows = (page, id, text) => page.waitForFunction(
	([i, s]) => document.getElementById(i).innerText.includes(s), [id, text]);
const text = (page, id) => page.locator('#' + id).innerText();
const rows = page => page.locator('#log > div').allInnerTexts();
const values = page => page.evaluate(() => Object.fromEntries(
	[...document.querySelectorAll('#lines li')].map(li => [li.querySelector('.name').textContent,
		[...li.querySelectorAll('.now, .range span')].map(e => e.textContent)])));

test('connected: messages, numbers, hostile text', async t => {
	const s = await serve(t), tok = token();
	const page = await open(t, s.port, '#t=' + tok);
	await state(page, 'connected');
	assert.equal(await text(page, 'word'), 'Connected');
	assert.match(await page.title(), /^Connected/);
	const hostile = '<img src=x onerror="document.title=`bad`"><script>document.title="bad"</script>';
	s.write('{"cpu":{"load":0.5},"disk":[71.4,-12]}\n' +
		'{"cpu":{"load":0.25},"disk":[71.4,1234567],"ok":true,"s":"7","n":null,"big":1e999}\n' +
		`${hostile}\n{"<b>name</b>":1}\n{not json\n\n23.5\nplain\n`);
	await shows(page, 'count', '8');
	const got = (await rows(page)).map(l => l.replace(/^\d\d:\d\d:\d\d\.\d\d\d\xa0\xa0/, ''));
	assert.deepEqual(got.slice(2), [hostile, '{"<b>name</b>":1}', '{not json', ' (0 characters)', '23.5', 'plain']);
	assert.deepEqual(await values(page), {
		'cpu.load': ['0.25', '0.5', '0.25'],
		'disk.0': ['71.4', '71.4', '71.4'],
		'disk.1': ['1\u202f234\u202f567', '1\u202f234\u202f567', '-12'],
		'<b>name</b>': ['1', '1', '1'],
		value: ['23.5', '23.5', '23.5'],
	});
	assert.equal(await page.locator('main img, main script, main b:not(.now)').count(), 0);
	assert.match(await page.title(), /^Connected/);
	for (const path of await page.locator('#lines path').all())
		assert.doesNotMatch(await path.getAttribute('d'), /NaN|Infinity|undefined/);
	assert.ok(!s.lines.join('\n').includes(tok.split('.')[2]), 'the token reaches no log');
});

test('binary messages are shown as hexadecimal', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--binary']);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	s.write('A\u00e9\n' + '7'.repeat(100) + '\n');
	await shows(page, 'count', '2');
	const [a, b] = await rows(page);
	assert.match(a, /\xa0\xa041 c3 a9 \(3 bytes\)$/);
	assert.match(b, /\xa0\xa0(37 ){32}\(100 bytes\)$/);
});

test('a used token: refused, in words, once', async t => {
	const s = await serve(t), hash = '#t=' + token();
	await state(await open(t, s.port, hash), 'connected');
	const page = await open(t, s.port, hash, { refusals: true, clock: Date.now() - HOUR });
	await state(page, 'refused');
	assert.equal(await text(page, 'word'), 'Refused');
	assert.match(await text(page, 'why'), /used before.*Ask for a new link\.$/);
	await s.log(/event=reject .*reason=token_used/);
	await page.clock.fastForward('10:00');
	assert.equal(page.sockets.length, 1, 'it does not try again by itself');
	await Promise.all([page.waitForEvent('websocket'), page.locator('#again').click()]);
	await state(page, 'refused');
	assert.equal(page.sockets.length, 2, 'it does when told to');
	await page.evaluate(t => { location.hash = 't=' + t; }, token());
	await state(page, 'connected');
	assert.ok(await page.locator('#again').isHidden());
});

test('no token, an expired one, half a link', async t => {
	const s = await serve(t);
	const none = await open(t, s.port, '', { refusals: true });
	await state(none, 'refused');
	assert.match(await text(none, 'why'), /has no token/);
	await s.log(/event=reject .*reason=token_missing/);
	const old = await open(t, s.port, '#t=' + token(1).replace(/[^.]+$/, 'AAAA'),
		{ refusals: true, clock: Date.now() + HOUR });
	await state(old, 'refused');
	assert.match(await text(old, 'why'), /expired 60 min ago/);
	const half = await open(t, s.port, '#t=' + token().split('.')[0]);
	await state(half, 'refused');
	assert.match(await text(half, 'why'), /was cut/);
	assert.equal(half.sockets.length, 0);
});

test('without authentication', async t => {
	const s = await serve(t, ['--no-auth']);
	const page = await open(t, s.port);
	await state(page, 'connected');
	s.write('hello\n');
	await shows(page, 'log', 'hello');
});

test('a token that expires meanwhile', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--enforce-expiry']);
	const page = await open(t, s.port, '', { refusals: true });
	await state(page, 'refused');
	await page.evaluate(t => { location.hash = 't=' + t; }, token(3));
	await shows(page, 'word', 'Connected');
	await shows(page, 'word', 'Closed');
	assert.match(await text(page, 'why'), /has expired.*new link/);
	assert.equal(page.sockets.length, 2);
});

test('every other end, in words', async t => {
	const s = await serve(t);
	for (const [code, reason, word, why] of [
		[1013, 'too_slow', 'Reconnecting', /^This page fell too far behind the stream\.$/],
		[1008, 'policy', 'Closed', /rules forbid it/],
		[4401, 'key_unknown', 'Closed', /\(key_unknown\)\. Ask for a new link\.$/],
		[1000, '<b>', 'Reconnecting', /\(<b>\)/],
	]) {
		let end;
		const page = await open(t, s.port, '#t=' + token(), {
			clock: Date.now() - HOUR,
			route: socket => { end = () => socket.close({ code, reason }); },
		});
		await state(page, 'connected');
		await page.clock.pauseAt(Date.now() - HOUR / 2);
		await end();
		await shows(page, 'word', word);
		assert.match(await text(page, 'why'), why);
	}
});

/* The page's clock stands an hour back and is stopped, so that each delay can be read. */
async function stopped(t, s) {
	const page = await open(t, s.port, '#t=' + token(), { refusals: true, clock: Date.now() - HOUR });
	await state(page, 'connected');
	await page.clock.pauseAt(Date.now() - HOUR / 2);
	return page;
}

const delay = async page => {
	await shows(page, 'next', 'Next try in');
	return +/in (\d+) s/.exec(await text(page, 'next'))[1];
};

/* On to that state, by as many tries as it takes: one may fail on a busy machine. */
async function tryUntil(page, name) {
	for (let n = 0; n < 10; n++) {
		const next = await page.waitForFunction(want => document.documentElement.dataset.state === want ||
			/in (\d+) s/.exec(document.getElementById('next').textContent)?.[1], name);
		const seconds = await next.jsonValue();
		if (seconds === true)
			return;
		await page.clock.fastForward(1000 * seconds);
	}
	assert.fail(`not ${name} after 10 tries`);
}

async function tryNow(page) {
	const failed = page.waitForEvent('requestfailed');
	await page.clock.fastForward(1000 * await delay(page));
	await failed;
}

test('a shutdown: growing delays, then refused when the token was for one connection', async t => {
	const args = ['--secret-file', SECRET, '--used-tokens-file', path.join(DIR, 'used')];
	const s = await serve(t, args), page = await stopped(t, s);
	assert.equal(await s.stop(), 0);
	await state(page, 'reconnecting');
	assert.match(await text(page, 'why'), /shut down/);
	for (let n = 0; n < 8; n++) {
		const wait = await delay(page), most = Math.min(30, 2 ** n);
		assert.ok(wait >= most / 2 && wait <= most, `try ${n} after ${wait} s`);
		await tryNow(page);
		await shows(page, 'why', 'does not answer');
	}
	assert.equal(page.sockets.length, 1, 'a dead server is asked without the token');
	const again = await serve(t, args, s.port);
	await tryUntil(page, 'refused');
	assert.match(await text(page, 'why'), /shut down.*not let this link in again.*new link/);
	await again.log(/event=reject .*reason=token_used/);
	await page.clock.fastForward('10:00');
	assert.equal(page.sockets.length, 2);
});

test('a shutdown: back by itself when the token is for many', async t => {
	const many = ['--secret-file', SECRET, '--token-use', 'many'];
	const s = await serve(t, many), page = await stopped(t, s);
	assert.equal(await s.stop(), 0);
	await state(page, 'reconnecting');
	await tryNow(page);
	await serve(t, many, s.port);
	await tryUntil(page, 'connected');
});

test('the list: Space, the button, scrolling up', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	s.write('line\n'.repeat(150));
	await shows(page, 'count', '150');
	const pause = page.locator('#pause');
	for (const [hold, go] of [
		[() => page.keyboard.press('Space'), () => page.keyboard.press('Space')],
		[() => pause.click(), () => pause.press('Enter')],
		[() => page.evaluate(() => { document.getElementById('log').scrollTop = 10; }),
			() => page.evaluate(() => { const l = document.getElementById('log'); l.scrollTop = l.scrollHeight; })],
	]) {
		await hold();
		await shows(page, 'pause', 'Resume');
		const before = await rows(page);
		s.write('fresh\n');
		await shows(page, 'held', 'Paused, 1 new');
		assert.deepEqual(await rows(page), before);
		await go();
		await shows(page, 'pause', 'Pause');
		await page.waitForFunction(n => document.querySelectorAll('#log > div').length === n, before.length + 1);
		assert.match((await rows(page)).at(-1), /fresh$/);
	}
});

test('with the keyboard alone, named for those who do not see it', async t => {
	const s = await serve(t);
	const page = await open(t, s.port, '#t=' + token(), { refusals: true });
	await state(page, 'connected');
	s.write('{"a":1}\n');
	await page.locator('#lines').waitFor();
	const stops = [];
	for (let n = 0; n < 3; n++) {
		await page.keyboard.press('Tab');
		stops.push(await page.evaluate(() => {
			const e = document.activeElement;
			return e.id + (getComputedStyle(e).outlineStyle === 'solid' ? '' : ' without outline');
		}));
	}
	assert.deepEqual(stops, ['lines', 'pause', 'log']);
	for (const [role, name] of [['banner'], ['main'], ['status'], ['region', 'Values'],
		['region', 'Messages'], ['log', 'Messages'], ['button', 'Pause']])
		assert.equal(await page.getByRole(role, { name }).count(), 1, role);
	await s.stop();
	await page.getByRole('button', { name: 'Try again' }).waitFor();
});

test('a flood stays bounded', async t => {
	const s = await serve(t, ['--secret-file', SECRET, '--slow', 'wait']);
	const page = await open(t, s.port, '#t=' + token());
	await state(page, 'connected');
	const N = 20000, wide = JSON.stringify(Array.from({ length: 1000 }, (_, i) => i));
	let all = '';
	for (let i = 1; i <= N; i++)
		all += `{"n":${i},"text":"${'x'.repeat(i % 90)}"}\n`;
	s.write(`${wide}\n${'y'.repeat(60000)}\n${all}`);
	await shows(page, 'count', '20\u202f002');
	const list = await rows(page);
	assert.equal(list.length, 200);
	assert.ok(list.at(-1).includes(`"n":${N},`));
	assert.equal(Object.keys(await values(page)).length, 24);
	assert.deepEqual(await page.evaluate(() => {	/* a quarter of an hour, in one step */
		for (let i = 0; i < 1000; i++, lastAt += 1000)
			plot('n', i);
		return [lines.has('n'), lines.get('n').points.length, lines.size];
	}), [true, 240, 24], 'old points go, and lines that stand still');
	await page.keyboard.press('Space');
	await shows(page, 'pause', 'Resume');
	s.write('more\n'.repeat(1000));
	await shows(page, 'held', 'Paused, 1\u202f000 new');
	assert.equal(await page.evaluate(() => rows.length), 200);
	await page.keyboard.press('Space');
	s.write('z'.repeat(60000) + '\n');
	await shows(page, 'log', 'z (60\u202f000 characters)');
	assert.ok((await rows(page)).at(-1).length < 2100);
});

/* What a router might tell, the same each time. */
function* router() {
	let seed = 7, load = .4, temp = 48, rx = 183422311, tx = 20382117;
	const some = () => (seed = seed * 48271 % 2147483647) / 2147483647;
	for (let i = 0; ; i++) {
		const busy = i % 70 > 42 && i % 70 < 58;
		load += (busy ? 1.1 - load : .3 - load) * .2 + (some() - .5) * .12;
		temp += (44 + load * 9 - temp) * .06 + (some() - .5) * .3;
		rx += Math.round((busy ? 9e5 : 4e4) * (some() + .3));
		tx += Math.round((busy ? 3e4 : 5e3) * (some() + .3));
		yield JSON.stringify({
			cpu: { load: +load.toFixed(2), temp: +temp.toFixed(1) },
			mem: { free: Math.round(211800 - load * 9000 + some() * 400) },
			wan: { rx, tx },
			ping: [11.2, 8.1].map(ms => +(ms + some() * some() * (i % 31 ? 3 : 40)).toFixed(1)),
		}) + '\n';
		if (i % 6 === 0)
			yield `dnsmasq-dhcp[1412]: DHCPACK(br-lan) 192.168.1.${100 + i % 90} 3c:22:fb:91:0a:${10 + i % 80}\n`;
	}
}

test('at every size, by day and by night', async t => {
	const s = await serve(t), pages = [];
	const phone = { isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
	for (const [name, context] of Object.entries({
		'desktop-light': { colorScheme: 'light' },
		'desktop-dark': { colorScheme: 'dark' },
		'phone-dark': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, ...phone },
		'phone-320': { colorScheme: 'light', viewport: { width: 320, height: 568 }, ...phone },
		'phone-low': { colorScheme: 'dark', viewport: { width: 320, height: 256 }, ...phone },
	})) {
		const page = await open(t, s.port, '#t=' + token(), { ...context, refusals: true, clock: Date.now() - HOUR });
		await state(page, 'connected');
		pages.push([name, page]);
	}
	const source = router(), total = 100;
	for (let i = 1; i <= total; i++) {
		s.write(source.next().value);
		await Promise.all(pages.map(async ([, page]) => {	/* a second later, as the page sees it */
			await page.waitForFunction(n => count === n, i);
			await page.clock.fastForward(1000);
		}));
	}
	for (const [name, page] of pages) {
		await shows(page, 'count', String(total));
		await shows(page, 'lines', 'ping');
		await page.screenshot({ path: path.join(SHOTS, name + '.png') });
	}
	s.write(`{"${'long'.repeat(50)}":${'1'.repeat(15)},"small":-0.00000012345}\n${'unbroken'.repeat(60)}\n`);
	for (const [, page] of pages)
		await page.waitForFunction(n => count === n, total + 2);
	await s.stop();
	for (const [name, page] of pages) {
		await state(page, 'reconnecting');
		await shows(page, 'lines', 'small');
		assert.deepEqual(await page.evaluate(() => ['html', '#lines', '#log'].filter(e =>
			document.querySelector(e).scrollWidth > document.querySelector(e).clientWidth)), [],
			`${name} does not scroll sideways`);
		await page.screenshot({ path: path.join(SHOTS, name + '-down.png') });
	}
});
