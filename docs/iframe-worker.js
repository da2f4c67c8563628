// Browsers refuse web workers to pages opened as files; the search runs in a hidden frame there.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.room = frame.contentWindow
      this.waiting = []
      this.room.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = this.room.document.createElement("script")
      script.src = url
      script.onload = () => {
        for (const data of this.waiting.splice(0)) this.deliver(data)
        this.ready = true
      }
      this.room.document.body.appendChild(script)
      this.addEventListener("message", event => this.onmessage && this.onmessage(event))
    }
    deliver(data) {
      this.room.dispatchEvent(new this.room.MessageEvent("message", { data }))
    }
    postMessage(data) {
      if (this.ready) this.deliver(data)
      else this.waiting.push(data)
    }
    terminate() {
      this.room.frameElement.remove()
    }
  }
}
