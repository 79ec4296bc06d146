// What is wrong with a page, as far as a script can see: landmarks, headings, labels, captions, alternatives, contrast, and whether it
// fits a screen of 320 pixels (WCAG 2.2: 1.1.1, 1.3.1, 1.4.3, 1.4.10, 2.4.1, 2.4.2, 3.1.1, 3.3.2). Run by tests/page.rs.
const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
const need = (good, what) => { if (!good) wrong.push(what); };
need(document.documentElement.lang === 'en', 'no language');
need(document.title.length > 5, 'no title');
for (const one of ['main', 'body > header', 'body > footer', 'h1', 'a.skip[href="#main"]']) need(all(one).length === 1, 'not one ' + one);
const levels = all('h1,h2,h3').map((heading) => +heading.tagName[1]);
levels.forEach((level, index) => need(index === 0 ? level === 1 : level <= levels[index - 1] + 1, 'headings out of order'));
for (const field of all('input:not([type=hidden]),select')) need(field.labels.length === 1 && field.labels[0].innerText, 'no label: ' + field.id);
for (const control of all('a,button')) need((control.getAttribute('aria-label') || control.innerText).trim(), 'nameless: ' + control.outerHTML);
for (const image of all('img,svg[role=img]')) need(image.alt || image.getAttribute('aria-label'), 'no alternative');
for (const table of all('table')) need(table.caption && [...table.querySelectorAll('th')].every((head) => head.scope), 'table without caption or scope');
const ids = all('[id]').map((one) => one.id);
need(new Set(ids).size === ids.length, 'an id twice');
const channel = (value) => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
const light = (colour) => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
const behind = (one) => { for (; one; one = one.parentElement) { const found = getComputedStyle(one).backgroundColor; if (!/, 0\)$/.test(found)) return found; } return 'rgb(255, 255, 255)'; };
let texts = 0;
for (const one of all('body *')) {
    if (one.closest('svg') || ![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    texts += 1;
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x), contrast = (a + 0.05) / (b + 0.05);
    need(contrast >= 4.5, 'contrast ' + contrast.toFixed(2) + ': ' + one.outerHTML.slice(0, 80));
}
need(texts > 3, 'nothing to read');
need(document.documentElement.scrollWidth <= Math.max(innerWidth, 320), 'wider than its window: ' + document.documentElement.scrollWidth);
return wrong;
