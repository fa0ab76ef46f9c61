// The wall is told over a socket that there is something new to show, and has itself drawn anew.
const again = 3000; // milliseconds after which a lost connection is tried once more

export default function ({ data, parentElement, setTriggerValue }) {
  const ear = (parentElement.ear ??= { socket: null, times: 0 });
  ear.tell = () => setTriggerValue("heard", ++ear.times);
  const connect = () => {
    if (!parentElement.isConnected || ear.socket) return;
    const place = `${location.origin.replace("http", "ws")}/live/wall?of=${data.of}`;
    const socket = (ear.socket = new WebSocket(place));
    socket.onmessage = () => (parentElement.isConnected ? ear.tell() : socket.close());
    socket.onclose = () => {
      ear.socket = null;
      setTimeout(connect, again);
    };
  };
  connect();
}
