/** Talking to the server: one function a request, one kind of error. */

/** An answer the server refused with, or `offline` when there was none. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 when there was no answer
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** No answer, or one that says nothing about the request: try again later. */
  get passing() {
    return this.status === 0 || this.status >= 500;
  }

  get unknownToken() {
    return this.status === 401 || this.status === 403;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { "X-Motrail": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: text, ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "offline", "The server does not answer.");
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) {
    const { code = "failed", message = `The server answered ${answer.status}.` } =
      found?.error ?? {};
    throw new ApiError(answer.status, code, message);
  }
  return found;
}

/** @param {string} path */
export const get = (path) => call("GET", path);

/**
 * @param {string} path
 * @param {unknown} body
 */
export const post = (path, body) => call("POST", path, body);

/**
 * The address of a frame's picture.
 * @param {number} index sequence
 * @param {number} frame
 * @param {number} width picture pixels at most
 * @param {"low"|"high"} quality
 */
export function frameAddress(index, frame, width, quality) {
  return `/api/sequences/${index}/frames/${frame}?width=${width}&quality=${quality}`;
}
