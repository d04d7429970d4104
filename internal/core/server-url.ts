/** Where a listening TCP server is, such as `http://127.0.0.1:8080` or `http://[::1]:8080`. */
export function serverUrl(server: { address(): unknown }): string {
  // What Node calls an AddressInfo; only pipes have a string instead.
  const { address, port, family } = server.address() as { address: string; port: number; family: string };
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
