// Locust's web interface, by hand of a browser: start 10 users, raise to 30, stop. node swarm.js URL FOLDER
const { chromium } = require('playwright-core');
const [url, folder] = process.argv.slice(2);
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

async function users(page, count) {  // what Locust says is running
  for (let tries = 0; tries < 60; tries++) {
    const stats = await page.request.get(url + 'stats/requests').then((answer) => answer.json());
    if (stats.user_count === count) return stats;
    await page.waitForTimeout(500);
  }
  throw new Error(`never ${count} users`);
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: flags });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(url);
  await page.screenshot({ path: `${folder}/1-before.png` });
  await page.fill('input[name=userCount]', '10');
  await page.fill('input[name=spawnRate]', '10');
  await page.click('button:has-text("Start")');
  await users(page, 10);
  await page.waitForTimeout(8000);
  await page.screenshot({ path: `${folder}/2-started.png` });
  await page.click('button:has-text("Edit")');
  await page.fill('input[name=userCount]', '30');
  await page.fill('input[name=spawnRate]', '30');
  await page.click('button:has-text("Update"), button:has-text("Save")');
  await users(page, 30);
  await page.waitForTimeout(10000);
  await page.screenshot({ path: `${folder}/3-raised.png` });
  await page.click('button:has-text("Stop")');
  await users(page, 0);
  await page.waitForTimeout(5000);
  await page.screenshot({ path: `${folder}/4-stopped.png` });
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
