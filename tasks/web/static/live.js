// Fetches the page again every few seconds, and puts its live part in place of the one that is shown.
(function () {
    "use strict";

    function refresh(part) {
        if (document.hidden) {
            return Promise.resolve(part);
        }
        return fetch(location.href, {credentials: "same-origin", headers: {Accept: "text/html"}}).then(function (answer) {
            if (!answer.ok) {
                throw new Error(String(answer.status));
            }
            return answer.text();
        }).then(function (text) {
            var page = new DOMParser().parseFromString(text, "text/html");
            var fresh = page.querySelector("[data-live]");
            if (fresh === null) { // it has ended
                location.reload();
                return null;
            }
            var open = part.querySelector("details[open]") !== null;
            fresh.querySelectorAll("details").forEach(function (one) { one.open = open; });
            if (fresh.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
                part.replaceWith(fresh);
                return fresh;
            }
            return part;
        }).catch(function () {
            part.querySelectorAll("[data-live-state]").forEach(function (one) {
                one.textContent = "no answer from Flower; shown is what it said last";
                one.parentElement.classList.add("lost");
            });
            return part;
        });
    }

    function keepFresh(part) {
        window.setTimeout(function () {
            refresh(part).then(function (next) {
                if (next !== null) {
                    keepFresh(next);
                }
            });
        }, 1000 * Number(part.getAttribute("data-live")));
    }

    document.querySelectorAll("[data-live]").forEach(keepFresh);
}());
