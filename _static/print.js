// Paper is white: the light theme prints, whichever is on the screen.
{
  const { dataset } = document.documentElement;
  let onScreen;
  window.addEventListener("beforeprint", () => {
    onScreen = dataset.theme;
    dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    dataset.theme = onScreen;
  });
}
