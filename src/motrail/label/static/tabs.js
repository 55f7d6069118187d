/** Who this tab is, and which others are alive. */

import { uniqueId } from "./store.js";

const NAME = "motrail.tab";

/** @param {string} tab */
const lockName = (tab) => `motrail.tab:${tab}`;

/**
 * Holds a Web Lock for as long as the page lives.
 * @param {string} tab
 * @returns {Promise<boolean>} false when another tab holds it
 */
function hold(tab) {
  return new Promise((resolve) => {
    navigator.locks.request(lockName(tab), { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });
}

/**
 * This tab's id: the same after a reload, another one in a duplicated tab.
 * @returns {Promise<string>}
 */
export async function thisTab() {
  let tab = sessionStorage.getItem(NAME) ?? uniqueId();
  // Without Web Locks (plain http beyond this machine) a duplicated tab cannot be told apart by
  // its id: a fresh one each time costs a reload its lock for 15 seconds at most.
  if (!navigator.locks) tab = uniqueId();
  else if (!(await held(tab))) tab = uniqueId();
  if (navigator.locks && tab !== sessionStorage.getItem(NAME)) await hold(tab);
  sessionStorage.setItem(NAME, tab);
  return tab;
}

/**
 * A reloaded page may come before its predecessor has let go: try for a moment.
 * @param {string} tab
 */
async function held(tab) {
  for (let turn = 0; turn < 5; turn += 1) {
    if (await hold(tab)) return true;
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  return false;
}

/**
 * Whether a tab is still open in this browser.
 * @param {string} tab
 * @returns {Promise<boolean>}
 */
export async function alive(tab) {
  if (!navigator.locks) return false;
  const { held: locks } = await navigator.locks.query();
  return (locks ?? []).some((lock) => lock.name === lockName(tab));
}
